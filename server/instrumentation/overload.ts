/** Refuses a call at the door of an overloaded process: by the word of its procedure's meta, before any of its work. */
import { TRPCError } from "@trpc/server";
import { readProperty } from "../../shared/error-facts.js";
import { CRITICALITIES, type Criticality } from "../../shared/health.js";
import { REJECTION } from "../../shared/rejection.js";
import type { LoadGate } from "../ports/load-gate.js";
import type { CallRecorder, EndedCall } from "./call-recorder.js";

/**
 * A call that an overloaded process did not begin: TOO_MANY_REQUESTS. Nothing of its work was done.
 *
 * `name` stays `TRPCError`: by it a second copy of `@trpc/server` knows the error and sends its status.
 */
export class OverloadError extends TRPCError {
  readonly retryAfterMs: number;
  readonly [REJECTION] = true;

  constructor(path: string, criticality: Criticality, retryAfterMs: number) {
    super({
      code: "TOO_MANY_REQUESTS",
      message: `${path} is ${criticality} and the process is overloaded: try again in ${Math.ceil(retryAfterMs / 1_000)} s`,
    });
    this.retryAfterMs = retryAfterMs;
  }
}

/** Operators must get through to a process in trouble. */
const OWN_PATH = "paramedic.";

/**
 * Counts and throws the refusal where there is one.
 *
 * @param meta of the procedure: `{ paramedic: { criticality } }` is read. @default "important"
 * @throws OverloadError
 */
export function refuseOverload(
  gate: LoadGate,
  call: EndedCall,
  meta: unknown,
  recorder: Pick<CallRecorder, "failed">,
): void {
  if (call.path.startsWith(OWN_PATH)) return;
  const criticality = criticalityOf(meta);
  if (!gate.refuses(criticality)) return;
  const refusal = new OverloadError(call.path, criticality, gate.retryAfterMs);
  recorder.failed(call, refusal, 0);
  throw refusal;
}

function criticalityOf(meta: unknown): Criticality {
  const said = readProperty(readProperty(meta, "paramedic"), "criticality");
  return CRITICALITIES.find((known) => known === said) ?? "important";
}
