/**
 * Paramedic's own errors: one base, one table of string codes. Callers branch on `code`, never on `instanceof`, because two
 * copies of the package may live in one process.
 */

export const PARAMEDIC_ERROR_CODES = [
  "CONFIGURATION_INVALID",
  "STORE_UNAVAILABLE",
  "STORE_SCHEMA_NEWER",
  "STORE_CORRUPT",
  "STORE_REQUEST_INVALID",
  "STREAM_UNAVAILABLE",
  "STREAM_MISCONFIGURED",
  "BATCH_INVALID",
  "INVARIANT_BROKEN",
  "STRATEGY_INVALID",
  "OPERATION_INVALID",
  "FALLBACK_EMPTY",
  "PEER_MISSING",
  "CLOSED",
] as const;
export type ParamedicErrorCode = (typeof PARAMEDIC_ERROR_CODES)[number];

/**
 * The base of every error that Paramedic itself raises outside a user's call. Guards' errors inside a call extend
 * `TRPCError` instead, so that clients see the right status.
 *
 * @example
 * throw new ParamedicError("STORE_UNAVAILABLE", "cannot open ./paramedic.db: the folder is missing; create it", { cause });
 */
export class ParamedicError extends Error {
  override readonly name: string = "ParamedicError";

  constructor(
    readonly code: ParamedicErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Tells a Paramedic error by its code, across duplicate copies of the package. */
export function isParamedicError(error: unknown, code?: ParamedicErrorCode): error is ParamedicError {
  if (!(error instanceof Error) || !("code" in error)) return false;
  const found = error.code;
  return PARAMEDIC_ERROR_CODES.some((known) => known === found) && (code === undefined || code === found);
}

/**
 * What must never be is: a fault of ours to count and log, never to throw into a call.
 *
 * @param id of the invariant, `I1` to `I11`
 * @example onFault(brokenInvariant("I9", "nobody knows what became of 2 of 70 delivered entries"))
 */
export function brokenInvariant(id: string, what: string): ParamedicError {
  return new ParamedicError("INVARIANT_BROKEN", `${id} does not hold: ${what}; please report it`);
}
