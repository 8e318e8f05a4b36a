/** Writes down what a database did wrong, each error once, and what contention did not: count. */

import type { Classification } from "../../../shared/classification.js";
import { classify, severityOf } from "../../../shared/classify.js";
import { describeError } from "../../../shared/describe-error.js";
import type { Failure, Json } from "../../../shared/failure.js";
import type { CallContext } from "../../ports/call-context.js";
import type { Clock } from "../../ports/clock.js";
import type { Ids } from "../../ports/ids.js";
import type { Journal } from "../../ports/journal.js";
import { nameQuery } from "./query-name.js";

export interface DatabaseFailuresDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly journal: Journal;
  readonly callContext: CallContext;
}

export interface DatabaseFailures {
  /** The failure of an error, written down when it is new; undefined for the caller's own mistakes. */
  observe(error: unknown, service: string, sql: string): { found: Classification; failure: Failure | undefined };
  /** The error was observed already. */
  knows(error: unknown): boolean;
}

export function createDatabaseFailures({ clock, ids, journal, callContext }: DatabaseFailuresDeps): DatabaseFailures {
  const known = new WeakMap<object, Failure | undefined>();

  return Object.freeze({
    knows: (error: unknown) => isObject(error) && known.has(error),
    observe(error: unknown, service: string, sql: string) {
      const found = classify(error, service);
      if (isObject(error) && known.has(error)) return { found, failure: known.get(error) };
      const failure = isWorthWriting(found) ? describe(error, service, sql, found) : undefined;
      if (isObject(error)) known.set(error, failure);
      if (failure !== undefined) {
        journal.append({ type: "failure.observed", failure, rescued: false });
        callContext.current()?.causes.push(failure.eventId);
      }
      return { found, failure };
    },
  });

  function describe(error: unknown, service: string, sql: string, found: Classification): Failure {
    const { name, message, stack, code } = describeError(error);
    const query = nameQuery(sql);
    const call = callContext.current();
    const context: Record<string, Json> = {
      reason: found.reason,
      error: name,
      operation: query.operation,
      query: query.fingerprint,
    };
    if (code !== undefined) context.code = code;
    if (call !== undefined) context.path = call.path;
    return {
      eventId: ids(),
      timestamp: clock.now(),
      failureCategory: found.failureCategory,
      failureType: found.failureType,
      severity: severityOf(found),
      affectedService: service,
      errorMessage: message,
      errorStack: stack,
      context,
      detectionMethod: "exception",
      userId: call?.userId,
      requestId: call?.requestId,
    };
  }
}

/** Contention is no failure of the database, yet an operator wants to see it. */
export function isContention({ failureType }: Pick<Classification, "failureType">): boolean {
  return failureType === "database_busy" || failureType === "database_conflict";
}

function isWorthWriting(found: Classification): boolean {
  return found.verdict === "failure" || isContention(found);
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}
