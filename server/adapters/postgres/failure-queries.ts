/** Reads failure events and what was done about them. */
import { and, eq } from "drizzle-orm";
import { failureEvents, recoveryActions, writeReceipts } from "../../../drizzle/postgres/self-healing-schema.js";
import type { FailureEvent } from "../../../shared/failure.js";
import type { RecoveryAction } from "../../../shared/recovery.js";
import type { FailureQuery, Page, RecoveryQuery } from "../../ports/store.js";
import { failureEventOf } from "../failure-rows.js";
import { failureFilters, recoveryFilters } from "../list-filters.js";
import { recoveryActionOf } from "../recovery-rows.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./postgres-connection.js";

export interface FailureQueries {
  listFailures(query: FailureQuery): Promise<Page<FailureEvent>>;
  /** By its own id, or by the id of a sighting that was folded into it within the last hour. */
  getFailure(eventId: string): Promise<FailureEvent | undefined>;
  getRecovery(actionId: string): Promise<RecoveryAction | undefined>;
  listRecoveries(query: RecoveryQuery): Promise<Page<RecoveryAction>>;
}

export function createFailureQueries(db: Db): FailureQueries {
  const findEvent = async (eventId: string) => {
    const [row] = await db.select().from(failureEvents).where(eq(failureEvents.eventId, eventId));
    return row && failureEventOf(row);
  };

  return {
    listFailures(query) {
      return readPage(
        query,
        { time: failureEvents.timestamp, id: failureEvents.id },
        failureFilters(query, failureEvents),
        (where, orderBy, limit) =>
          db
            .select()
            .from(failureEvents)
            .where(where)
            .orderBy(...orderBy)
            .limit(limit),
        (row) => row,
        failureEventOf,
      );
    },

    async getFailure(eventId) {
      const event = await findEvent(eventId);
      if (event) return event;
      const [receipt] = await db
        .select({ storedId: writeReceipts.storedId })
        .from(writeReceipts)
        .where(and(eq(writeReceipts.kind, "failure"), eq(writeReceipts.id, eventId)));
      return receipt && findEvent(receipt.storedId);
    },

    async getRecovery(actionId) {
      const [row] = await db.select().from(recoveryActions).where(eq(recoveryActions.actionId, actionId));
      return row && recoveryActionOf(row);
    },

    listRecoveries(query) {
      return readPage(
        query,
        { time: recoveryActions.timestamp, id: recoveryActions.id },
        recoveryFilters(query, recoveryActions),
        (where, orderBy, limit) =>
          db
            .select()
            .from(recoveryActions)
            .where(where)
            .orderBy(...orderBy)
            .limit(limit),
        (row) => row,
        recoveryActionOf,
      );
    },
  };
}
