/** Law of safe repetition: whether running a piece of work a second time does no harm. */
import type { ProcedureType } from "../../shared/outcome.js";

/** LLM completions change nothing, whoever asks for them. */
const HARMLESS_SERVICES = "llm:";

/**
 * What was said about the work decides; else what is known of every service it may use; else the call it runs in: what its
 * procedure says, or its type, for a query reads. What nobody knows is unsafe.
 *
 * @example isIdempotent(undefined, [{ name: "llm:openai", idempotent: undefined }], mutation) // true
 * @example isIdempotent(undefined, [{ name: "http:billing", idempotent: undefined }], mutation) // false
 */
export function isIdempotent(
  said: boolean | undefined,
  services: readonly { readonly name: string; readonly idempotent: boolean | undefined }[],
  call: { readonly type: ProcedureType; readonly idempotent: boolean | undefined } | undefined,
): boolean {
  if (said !== undefined) return said;
  const known = services.map(
    ({ name, idempotent }) => idempotent ?? (name.startsWith(HARMLESS_SERVICES) ? true : undefined),
  );
  if (known.includes(false)) return false;
  return known.includes(undefined) ? (call?.idempotent ?? call?.type === "query") : true;
}
