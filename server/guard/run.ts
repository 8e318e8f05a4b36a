/** The one-shot form of an operation: targets that close over their arguments, run once. */
import type { Failure } from "../../shared/failure.js";
import type { GuardContext } from "./guard.js";
import { type OperationDefinition, type Targets, validateOperation } from "./operation.js";
import { ParamedicError } from "../../shared/errors.js";

export interface RunTarget<T> {
  readonly service: string;
  readonly run: (context: GuardContext) => T | Promise<T>;
}

/**
 * @example
 * await paramedic.run("summarise", {
 *   targets: [{ service: "llm:openai", run: ({ signal }) => summary(text, signal) }],
 *   idempotent: true,
 * });
 */
export interface RunDefinition<T> {
  /** At least one, in order of preference, each of another service. */
  readonly targets: readonly RunTarget<T>[];
  readonly fallback?: ((failure: Failure) => T | Promise<T>) | undefined;
  readonly idempotent?: boolean | undefined;
  readonly timeoutMs?: number | undefined;
  /** The caller's own signal, beside the one of the tRPC call. */
  readonly signal?: AbortSignal | undefined;
}
