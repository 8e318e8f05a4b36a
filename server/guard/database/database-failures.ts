/** Writes down what a database did wrong, each error once, and what contention did not: count. */

import type { Classification } from "../../../shared/classification.js";
import { classify, severityOf } from "../../../shared/classify.js";
import { describeError } from "../../../shared/describe-error.js";
import { readProperty } from "../../../shared/error-facts.js";
import type { Failure, Json } from "../../../shared/failure.js";
import type { CallContext } from "../../ports/call-context.js";
import type { Clock } from "../../ports/clock.js";
import type { Ids } from "../../ports/ids.js";
import type { Journal } from "../../ports/journal.js";
import { type DatabaseSystem, nameQuery } from "./query-name.js";
import { isContention } from "./repeat-rule.js";

export interface DatabaseFailuresDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly journal: Journal;
  readonly callContext: CallContext;
}

/** Where an error was seen. */
export interface SeenAt {
  readonly service: string;
  readonly sql: string;
  readonly system: DatabaseSystem;
  /** The guard reacts to it itself, and writes down how. */
  readonly isHandled?: boolean;
}

export interface DatabaseFailures {
  /** The failure of an error, written down when it is new; undefined for the caller's own mistakes. */
  observe(error: unknown, seenAt: SeenAt): { found: Classification; failure: Failure | undefined };
  /** The error was observed already. */
  knows(error: unknown): boolean;
}

export function createDatabaseFailures({ clock, ids, journal, callContext }: DatabaseFailuresDeps): DatabaseFailures {
  const known = new WeakMap<object, Failure | undefined>();

  return Object.freeze({
    knows: (error: unknown) => isObject(error) && known.has(error),
    observe(error: unknown, seenAt: SeenAt) {
      const found = classify(error, seenAt.service);
      if (isObject(error) && known.has(error)) return { found, failure: known.get(error) };
      const failure = isWorthWriting(found) ? describe(error, seenAt, found) : undefined;
      if (isObject(error)) known.set(error, failure);
      if (failure !== undefined) {
        journal.append({ type: "failure.observed", failure, rescued: false });
        callContext.current()?.causes.push(failure.eventId);
      }
      return { found, failure };
    },
  });

  function describe(error: unknown, { service, sql, system, isHandled }: SeenAt, found: Classification): Failure {
    const { name, message, stack, code } = describeError(withoutValues(error));
    const query = nameQuery(sql, system);
    const call = callContext.current();
    const context: Record<string, Json> = {
      reason: found.reason,
      error: name,
      operation: query.operation,
      summary: query.summary,
      query: query.fingerprint,
    };
    if (code !== undefined) context.code = code;
    if (call !== undefined) context.path = call.path;
    if (isHandled) context.target = service;
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

/** Drizzle's error carries statement and values in its message; what the driver said is its cause. */
function withoutValues(error: unknown): unknown {
  const cause = readProperty(error, "cause");
  const isDrizzles = typeof readProperty(error, "query") === "string" && readProperty(error, "params") !== undefined;
  return isDrizzles && cause !== undefined ? cause : error;
}

function isWorthWriting(found: Classification): boolean {
  return found.verdict === "failure" || isContention(found);
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}
