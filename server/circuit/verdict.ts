/** What a circuit makes of an error when nobody told it better: law 3 without knowledge of the service. */
import { VERDICTS, type Verdict } from "../../shared/classification.js";
import { isServiceFailure, outcomeOfCode } from "../../shared/outcome.js";
import { isRejection } from "../../shared/rejection.js";

/** A verdict; a failure may say for how long it asks to be left alone (Retry-After), which opens the circuit at once. */
export type Judgement = Verdict | { readonly verdict: Verdict; readonly openForMs?: number | undefined };

export type PlainJudgement = Exclude<Judgement, string>;

/** What `say` makes of `subject`; `otherwise`, where it throws or gives no verdict: then `onFault` is told. */
export function judge<T>(
  say: (subject: T) => Judgement,
  subject: T,
  otherwise: Verdict,
  onFault: (fault: unknown) => void,
): PlainJudgement {
  try {
    const said = say(subject);
    const judgement = typeof said === "string" ? { verdict: said } : said;
    if (VERDICTS.includes(judgement.verdict)) return judgement;
    throw new TypeError(`a circuit's verdict is one of ${VERDICTS.join(", ")}, got ${String(said)}`);
  } catch (fault) {
    onFault(fault);
    return { verdict: otherwise };
  }
}

/**
 * Ignored are what another guard refused, an abort by the caller and a client's own error; everything else is a failure,
 * also what cannot be read.
 *
 * @example verdictOfError(new TRPCError({ code: "NOT_FOUND" })) // "ignored"
 */
export function verdictOfError(error: unknown): Verdict {
  try {
    const { name, code }: { readonly name?: unknown; readonly code?: unknown } = Object(error);
    if (isRejection(error) || name === "AbortError") return "ignored";
    if (name !== "TRPCError") return "failure";
    return isServiceFailure(outcomeOfCode(String(code))) ? "failure" : "ignored";
  } catch {
    return "failure";
  }
}
