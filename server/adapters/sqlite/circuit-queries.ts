/** Reads circuits, their transitions, and what operators did. */
import { asc, inArray } from "drizzle-orm";
import { circuitBreakerStates, circuitTransitions, operatorAudit } from "../../../drizzle/self-healing-schema.js";
import type { CircuitTransition } from "../../../shared/circuit.js";
import type { AuditEntry, AuditStore, CircuitStore, Page, StoredCircuit } from "../../ports/store.js";
import { storedCircuitOf, transitionOf } from "../circuit-columns.js";
import { transitionFilters } from "../list-filters.js";
import { prepareDatabaseClock } from "./database-clock.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./sqlite-connection.js";

export interface CircuitQueries {
  loadCircuits(names?: readonly string[]): readonly StoredCircuit[];
  listTransitions(query: Parameters<CircuitStore["listTransitions"]>[0]): Page<CircuitTransition>;
  listAudit(query: Parameters<AuditStore["listAudit"]>[0]): Page<AuditEntry>;
}

export function createCircuitQueries(db: Db): CircuitQueries {
  const databaseNow = prepareDatabaseClock(db);
  const circuits = () => db.select().from(circuitBreakerStates).orderBy(asc(circuitBreakerStates.circuitName));
  const every = circuits().prepare();

  return {
    loadCircuits(names) {
      const rows =
        names === undefined
          ? every.all()
          : circuits()
              .where(inArray(circuitBreakerStates.circuitName, [...names]))
              .all();
      const readAt = databaseNow();
      return rows.map((row) => storedCircuitOf(row, readAt));
    },

    listTransitions(query) {
      return readPage(
        query,
        { time: circuitTransitions.at, id: circuitTransitions.id },
        transitionFilters(query, circuitTransitions),
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
