/** The one-shot form of an operation: targets that close over their arguments, run once. */
import type { Classification } from "../../shared/classification.js";
import { ParamedicError } from "../../shared/errors.js";
import type { Failure } from "../../shared/failure.js";
import type { GuardContext } from "./guard.js";
import { validateWork } from "./operation.js";
import { type ServicePart, validateParts } from "./service-part.js";

/** What a guard may be told of one target, beside how to use it. */
export interface TargetTraits {
  /** What the target uses of its service that others may not: a model, a key, an account. @default none */
  readonly parts?: readonly ServicePart[] | undefined;
  /** Asked before a failover: `false` passes the target over, because it could not do the work. @default true */
  readonly accepts?: (() => boolean) | undefined;
  /** What an error means where this target knows more than its structure says. Must not throw. @default as found */
  readonly judge?: ((found: Classification, error: unknown) => Classification) | undefined;
}

export interface RunTarget<T> extends TargetTraits {
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

const RUN_OPTIONS: ReadonlySet<string> = new Set<keyof RunDefinition<unknown>>([
  "targets",
  "fallback",
  "idempotent",
  "timeoutMs",
  "signal",
]);

/**
 * Checks a definition.
 *
 * @throws ParamedicError `OPERATION_INVALID`, as for an operation; and when two targets name one service.
 */
export function validateRun<T>(name: string, definition: RunDefinition<T>): void {
  const { targets } = definition;
  validateWork(
    name,
    definition,
    targets.map(({ service, run }) => [service, run]),
    RUN_OPTIONS,
  );
  for (const { parts } of targets) validateParts(`operation "${name}"`, parts);
  const services = targets.map(({ service }) => service);
  const twice = services.find((service, index) => services.indexOf(service) !== index);
  if (twice !== undefined) {
    throw new ParamedicError(
      "OPERATION_INVALID",
      `operation "${name}": two targets name ${twice}; give each service once`,
    );
  }
}
