/** Reads what tRPC's `next()` gave: `{ ok: true, data }` or `{ ok: false, error }`, and nothing usable from a broken middleware. */
import type { ProcedureType } from "../../shared/outcome.js";

export function isSuccess<R>(result: R): result is R & { readonly ok: true; readonly data: unknown } {
  return typeof result === "object" && result !== null && "ok" in result && result.ok === true && "data" in result;
}

export function isFailure<R>(result: R): result is R & { readonly ok: false; readonly error: unknown } {
  return typeof result === "object" && result !== null && "ok" in result && result.ok === false && "error" in result;
}

/**
 * What is consumed step by step after the call has returned: whatever async iterable or observable a subscription gives, as
 * tRPC tells them, and the async generator of a streaming query or mutation. Other iterables there (a ReadableStream, a
 * cursor) are values with many faces, and stay as they are.
 */
export function isStream(data: unknown, type: ProcedureType): data is object {
  if (typeof data !== "object" || data === null) return false;
  if (type === "subscription") return Symbol.asyncIterator in data || "subscribe" in data;
  return Symbol.asyncIterator in data && Object.prototype.toString.call(data) === "[object AsyncGenerator]";
}

/** A copy of tRPC's own result object, marker and context included, with other data: what tRPC's middlewares return too. */
export function withData<R extends object>(result: R, data: unknown): R {
  return { ...result, data };
}
