/** Reads circuits, their transitions, and what operators did. */
import { asc, getTableColumns, inArray } from "drizzle-orm";
import {
  circuitBreakerStates,
  circuitTransitions,
  operatorAudit,
} from "../../../drizzle/postgres/self-healing-schema.js";
import type { CircuitTransition } from "../../../shared/circuit.js";
import type { AuditEntry, AuditStore, CircuitStore, Page, StoredCircuit } from "../../ports/store.js";
import { storedCircuitOf, transitionOf } from "../circuit-columns.js";
import { transitionFilters } from "../list-filters.js";
import { DATABASE_NOW } from "./database-clock.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./postgres-connection.js";

export interface CircuitQueries {
  loadCircuits(names?: readonly string[]): Promise<readonly StoredCircuit[]>;
  listTransitions(query: Parameters<CircuitStore["listTransitions"]>[0]): Promise<Page<CircuitTransition>>;
  listAudit(query: Parameters<AuditStore["listAudit"]>[0]): Promise<Page<AuditEntry>>;
}

export function createCircuitQueries(db: Db): CircuitQueries {
  return {
    async loadCircuits(names) {
      const rows = await db
        .select({ ...getTableColumns(circuitBreakerStates), readAt: DATABASE_NOW })
        .from(circuitBreakerStates)
        .where(names && inArray(circuitBreakerStates.circuitName, [...names]))
        .orderBy(asc(circuitBreakerStates.circuitName));
      return rows.map(({ readAt, ...row }) => storedCircuitOf(row, readAt));
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
            .limit(limit),
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
            .limit(limit),
        ({ at, id }) => ({ timestamp: at, id }),
        ({ id: _, detail, ...entry }) => ({ ...entry, detail: detail ?? undefined }),
      );
    },
  };
}
