/** The one-shot form of an operation: targets that close over their arguments, run once. */
import { ParamedicError } from "../../shared/errors.js";
import type { Failure } from "../../shared/failure.js";
import type { GuardContext } from "./guard.js";
import { validateOperation, validateWorkOptions } from "./operation.js";

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
  /** Answers when no target can. It must be local and quick: it runs even when the deadline is all but spent. */
  readonly fallback?: ((failure: Failure) => T | Promise<T>) | undefined;
  /** Running the work twice does no harm. @default true when every target is `llm:*`, or inside a query, else false */
  readonly idempotent?: boolean | undefined;
  /** Bounds everything, rescues too; 1 to 2^31-1 ms. @default the call's own deadline, if it has one */
  readonly timeoutMs?: number | undefined;
  /** The caller's own signal, beside the one of the tRPC call. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Checks a definition.
 *
 * @throws ParamedicError `OPERATION_INVALID`, as for an operation; and when two targets name one service.
 */
export function validateRun<T>(name: string, { signal, targets, ...definition }: RunDefinition<T>): void {
  validateOperation(name, {
    ...definition,
    targets: Object.fromEntries(targets.map(({ service, run }) => [service, run])),
  });
  validateWorkOptions(`operation "${name}"`, { signal });
  const services = targets.map(({ service }) => service);
  const twice = services.find((service, index) => services.indexOf(service) !== index);
  if (twice !== undefined) {
    throw new ParamedicError(
      "OPERATION_INVALID",
      `operation "${name}": two targets name ${twice}; give each service once`,
    );
  }
}
