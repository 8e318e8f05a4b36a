/** Reads failure events and what was done about them. */
import { and, eq, sql } from "drizzle-orm";
import { failureEvents, recoveryActions, writeReceipts } from "../../../drizzle/self-healing-schema.js";
import type { FailureEvent } from "../../../shared/failure.js";
import type { RecoveryAction } from "../../../shared/recovery.js";
import type { FailureQuery, Page, RecoveryQuery } from "../../ports/store.js";
import { failureEventOf } from "../failure-rows.js";
import { failureFilters, recoveryFilters } from "../list-filters.js";
import { recoveryActionOf } from "../recovery-rows.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./sqlite-connection.js";

export interface FailureQueries {
  listFailures(query: FailureQuery): Page<FailureEvent>;
  /** By its own id, or by the id of a sighting that was folded into it within the last hour. */
  getFailure(eventId: string): FailureEvent | undefined;
  getRecovery(actionId: string): RecoveryAction | undefined;
  listRecoveries(query: RecoveryQuery): Page<RecoveryAction>;
}

export function createFailureQueries(db: Db): FailureQueries {
  const findEvent = db
    .select()
    .from(failureEvents)
    .where(eq(failureEvents.eventId, sql.placeholder("eventId")))
    .prepare();
  const findReceipt = db
    .select({ storedId: writeReceipts.storedId })
    .from(writeReceipts)
    .where(and(eq(writeReceipts.kind, "failure"), eq(writeReceipts.id, sql.placeholder("eventId"))))
    .prepare();

  const findAction = db
    .select()
    .from(recoveryActions)
    .where(eq(recoveryActions.actionId, sql.placeholder("actionId")))
    .prepare();

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
            .limit(limit)
            .all(),
        (row) => row,
        failureEventOf,
      );
    },

    getFailure(eventId) {
      const row = findEvent.get({ eventId });
      if (row) return failureEventOf(row);
      const receipt = findReceipt.get({ eventId });
      const folded = receipt && findEvent.get({ eventId: receipt.storedId });
      return folded && failureEventOf(folded);
    },

    getRecovery(actionId) {
      const row = findAction.get({ actionId });
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
            .limit(limit)
            .all(),
        (row) => row,
        recoveryActionOf,
      );
    },
  };
}
