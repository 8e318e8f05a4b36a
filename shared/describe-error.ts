/** Turns whatever user code threw into a few safe strings: the only way in which an error leaves the call it belongs to. */
import { withoutModelWords } from "./model-error.js";
import { safeText } from "./redaction.js";

/** An error that may be logged and stored: redacted, bounded, well-formed text. */
export interface SafeError {
  /** The error's name; for what is no error, what it is: `string`, `undefined`, `object`. At most 100 characters. */
  readonly name: string;
  /** At most 1,000 characters. */
  readonly message: string;
  /** At most 4,000 characters; undefined where there is none. */
  readonly stack?: string | undefined;
  /** A driver's or the system's code (`ECONNREFUSED`, `SQLITE_BUSY`): the error's own, or the nearest cause's. */
  readonly code?: string | undefined;
  /** The tRPC code key of a `TRPCError`. */
  readonly trpcCode?: string | undefined;
}

const LENGTHS = { name: 100, message: 1_000, stack: 4_000, code: 100 } as const;

/** How far causes are followed: they may form a cycle. */
const CAUSE_DEPTH = 5;

/**
 * What an error says, whatever it is: `undefined`, a symbol, a revoked proxy, an error whose getters throw, one with cyclic
 * causes or a message of 10 MB. Never throws and changes nothing in `error`. What an LLM provider answered is told by its status
 * and its words for it, never by its text.
 *
 * @example describeError(new TypeError("no such host db.internal")).message // "no such host db.internal"
 * @example describeError(undefined) // { name: "undefined", message: "undefined was thrown" }
 */
export function describeError(error: unknown): SafeError {
  switch (typeof error) {
    case "string":
      return { name: "string", message: safeText(error, LENGTHS.message) || "an empty string was thrown" };
    case "undefined":
      return { name: "undefined", message: "undefined was thrown" };
    case "number":
    case "bigint":
    case "boolean":
    case "symbol":
      return { name: typeof error, message: `${safeText(String(error), LENGTHS.message)} was thrown` };
    case "function":
    case "object":
      return error === null ? { name: "null", message: "null was thrown" } : describeObject(error);
  }
}

function describeObject(error: object): SafeError {
  const name = safeText(textIn(error, "name"), LENGTHS.name);
  const message = safeText(withoutModelWords(textIn(error, "message"), error), LENGTHS.message);
  const stack = safeText(withoutModelWords(textIn(error, "stack"), error), LENGTHS.stack);
  const trpcCode = trpcCodeOf(error);
  const code = codeOf(error);
  return {
    name: name || typeof error,
    message: message || (name ? `${name} without a message` : `${describeType(error)} without a message was thrown`),
    ...(stack && { stack }),
    ...(code !== undefined && { code }),
    ...(trpcCode !== undefined && { trpcCode }),
  };
}

function describeType(error: object): string {
  return typeof error === "function" ? "a function" : "an object";
}

/**
 * The code key of a `TRPCError` (`NOT_FOUND`, `INTERNAL_SERVER_ERROR`, …), also of another copy of tRPC; undefined for every
 * other value. Never throws.
 *
 * @example trpcCodeOf(new TRPCError({ code: "NOT_FOUND" })) // "NOT_FOUND"
 */
export function trpcCodeOf(error: unknown): string | undefined {
  const code = readSafely(error, "code");
  return typeof code === "string" && TRPC_CODE.test(code) && isTrpcError(error) ? code : undefined;
}

/** Subclasses may have names of their own: then the class they extend tells. */
function isTrpcError(error: unknown): boolean {
  if (readSafely(error, "name") === "TRPCError") return true;
  let prototype = error;
  for (let depth = 0; depth < CAUSE_DEPTH; depth += 1) {
    prototype = prototypeOf(prototype);
    if (prototype === undefined) return false;
    if (readSafely(readSafely(prototype, "constructor"), "name") === "TRPCError") return true;
  }
  return false;
}

const TRPC_CODE = /^[A-Z_]{2,40}$/;

function codeOf(error: object): string | undefined {
  let current: unknown = error;
  for (let depth = 0; depth < CAUSE_DEPTH; depth += 1) {
    const code = readSafely(current, "code");
    const text = typeof code === "string" ? code : typeof code === "number" ? String(code) : "";
    if (text !== "" && trpcCodeOf(current) === undefined) return safeText(text, LENGTHS.code);
    current = readSafely(current, "cause");
    if (current === undefined) return undefined;
  }
  return undefined;
}

function textIn(owner: object, key: string): string {
  const value = readSafely(owner, key);
  return typeof value === "string" ? value : "";
}

/**
 * A property of anything; undefined where there is none or reading it throws.
 *
 * @example readSafely(error, "cause")
 */
export function readSafely(owner: unknown, key: string): unknown {
  if ((typeof owner !== "object" && typeof owner !== "function") || owner === null) return undefined;
  try {
    return Reflect.get(owner, key);
  } catch {
    return undefined;
  }
}

function prototypeOf(owner: unknown): object | undefined {
  if ((typeof owner !== "object" && typeof owner !== "function") || owner === null) return undefined;
  try {
    return Object.getPrototypeOf(owner) ?? undefined;
  } catch {
    return undefined;
  }
}
