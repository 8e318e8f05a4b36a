/** Remembers which errors a middleware has counted, so that the adapter's `onError` does not count them again. */
import { readSafely, trpcCodeOf } from "../../shared/describe-error.js";
import { SECOND_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";

export interface SeenErrors {
  /** A call of `path` failed with this very error, or will be reported as failed because of it. */
  add(error: unknown, path: string): void;
  has(error: unknown, path: string | undefined): boolean;
}

/** How far causes are followed: an outer middleware or tRPC itself may have wrapped the error that was seen. */
const CAUSE_DEPTH = 5;

/** What is thrown and is no `Error` reaches `onError` as a new error within the same turns of the event loop. */
const STRAY_MS = SECOND_MS;
const MOST_STRAYS = 100;

/**
 * Errors are known by identity, without a mark on them and without keeping them alive. tRPC replaces what is no `Error` by
 * one of its own, which has nothing in common with it: for those one report for the same path is expected soon.
 */
export function createSeenErrors(clock: Clock): SeenErrors {
  const seen = new WeakSet<object>();
  let strays: { readonly path: string; readonly at: number }[] = [];

  return Object.freeze({
    add(error: unknown, path: string) {
      if (isError(error)) {
        seen.add(error);
      } else {
        strays.push({ path, at: clock.monotonic() });
        if (strays.length > MOST_STRAYS) strays.shift();
      }
    },
    has(error: unknown, path: string | undefined): boolean {
      let current = error;
      for (let depth = 0; depth < CAUSE_DEPTH && isObject(current); depth += 1) {
        if (seen.has(current)) return true;
        current = readSafely(current, "cause");
      }
      return strays.length > 0 && trpcCodeOf(error) === "INTERNAL_SERVER_ERROR" && takeStray(path);
    },
  });

  function takeStray(path: string | undefined): boolean {
    const now = clock.monotonic();
    strays = strays.filter((stray) => now - stray.at <= STRAY_MS);
    const index = strays.findIndex((stray) => path === undefined || stray.path === path);
    if (index < 0) return false;
    strays.splice(index, 1);
    return true;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** `instanceof` as tRPC asks it; a proxy may refuse to answer. */
function isError(error: unknown): error is Error {
  try {
    return error instanceof Error;
  } catch {
    return false;
  }
}
