/** Reads circuits, their transitions, and what operators did. */
import { asc, eq, gte, lt } from "drizzle-orm";
import { circuitBreakerStates, circuitTransitions, operatorAudit } from "../../../drizzle/self-healing-schema.js";
import type { CircuitTransition } from "../../../shared/circuit.js";
import type { AuditEntry, AuditStore, CircuitStore, Page, StoredCircuit } from "../../ports/store.js";
import { storedCircuitOf, transitionOf } from "../circuit-columns.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./sqlite-connection.js";

export interface CircuitQueries {
  loadCircuits(): readonly StoredCircuit[];
  listTransitions(query: Parameters<CircuitStore["listTransitions"]>[0]): Page<CircuitTransition>;
  listAudit(query: Parameters<AuditStore["listAudit"]>[0]): Page<AuditEntry>;
}

export function createCircuitQueries(db: Db): CircuitQueries {
  const loadCircuits = db.select().from(circuitBreakerStates).orderBy(asc(circuitBreakerStates.circuitName)).prepare();

  return {
    loadCircuits: () => loadCircuits.all().map(storedCircuitOf),

    listTransitions(query) {
      return readPage(
        query,
        { time: circuitTransitions.at, id: circuitTransitions.id },
        [
          query.circuitName === undefined ? undefined : eq(circuitTransitions.circuitName, query.circuitName),
          query.to && eq(circuitTransitions.to, query.to),
          query.from === undefined ? undefined : gte(circuitTransitions.at, query.from),
          query.until === undefined ? undefined : lt(circuitTransitions.at, query.until),
        ],
        (where, orderBy, limit) =>
          db
            .select()
            .from(circuitTransitions)
            .where(where)
            .orderBy(...orderBy)
            .limit(limit)
            .all(),
        ({ at, id }) => ({ timestamp: at, id }),
        transitionOf,
      );
    },

    listAudit(query) {
      return readPage(
        query,
        { time: operatorAudit.at, id: operatorAudit.id },
        [],
        (where, orderBy, limit) =>
          db
            .select()
            .from(operatorAudit)
            .where(where)
            .orderBy(...orderBy)
            .limit(limit)
            .all(),
        ({ at, id }) => ({ timestamp: at, id }),
        ({ id: _, detail, ...entry }) => ({ ...entry, detail: detail ?? undefined }),
      );
    },
  };
}
