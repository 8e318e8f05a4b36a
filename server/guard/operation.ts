/** An operation: a named piece of work with several ways to do it, validated once, at its definition. */
import { readProperty } from "../../shared/error-facts.js";
import { ParamedicError } from "../../shared/errors.js";
import type { Failure } from "../../shared/failure.js";
import { MAX_TIMER_MS } from "../../shared/units.js";
import type { Detailed, GuardContext } from "./guard.js";

/** One way to do the work: a function that uses one service. */
export type TargetFunction = (context: GuardContext, ...args: never[]) => unknown;

/** Any fallback, whatever its arguments. */
export type FallbackFunction = (failure: Failure, ...args: never) => unknown;

/** A value that was good when it was kept. */
export interface AgedValue {
  readonly value: unknown;
  readonly ageMs: number;
}

/** Service → how the work is done there, in order of preference. */
export type Targets = Readonly<Record<string, TargetFunction>>;

/** The arguments that every target accepts. */
export type TargetArgs<T extends Targets> = AcceptedArgs<T[keyof T], T[keyof T]>;
type AcceptedArgs<One, All> = One extends (context: GuardContext, ...args: infer Args) => unknown
  ? [All] extends [(context: GuardContext, ...args: Args) => unknown]
    ? Args
    : never
  : never;

export type TargetResult<T extends Targets> = T[keyof T] extends (...args: never[]) => infer Result
  ? Awaited<Result>
  : never;

export interface OperationDefinition<T extends Targets, F = never> {
  /** At least one, in order of preference. Their services are guarded under their own policies. */
  readonly targets: T;
  /**
   * Answers when no target can. It must be local and quick: it runs even when the deadline is all but spent. One that has a
   * `detailed` beside it, as `lastGood.fallback` has, is asked by that: `{ value, ageMs }` makes `rescue.kind` `stale`.
   */
  readonly fallback?: ((failure: Failure, ...args: TargetArgs<T>) => F | Promise<F>) | undefined;
  /** Running the work twice does no harm. @default true when every target is `llm:*`, or inside a query, else false */
  readonly idempotent?: boolean | undefined;
  /** Bounds everything, rescues too; 1 to 2^31-1 ms. @default the call's own deadline, if it has one */
  readonly timeoutMs?: number | undefined;
}

/**
 * A named piece of work that several services can do.
 *
 * @example
 * const summary = await summarise(text);
 * const { value, rescue } = await summarise.detailed(text); // rescue.kind: fresh, retried, hedged, failed_over, fallback, stale
 */
export interface Operation<Args extends readonly unknown[], T> {
  (...args: Args): Promise<T>;
  /** As calling it, and says how the value was obtained. */
  detailed(...args: Args): Promise<Detailed<T>>;
  readonly operationName: string;
}

interface AnyDefinition extends Omit<OperationDefinition<Targets>, "fallback"> {
  readonly fallback?: FallbackFunction | undefined;
}

const OPERATION_OPTIONS: ReadonlySet<string> = new Set<keyof OperationDefinition<Targets>>([
  "targets",
  "fallback",
  "idempotent",
  "timeoutMs",
]);

/**
 * Checks a definition.
 *
 * @throws ParamedicError `OPERATION_INVALID` naming the operation, what is wrong and what is legal.
 */
export function validateOperation(name: string, definition: AnyDefinition): void {
  validateWork(name, definition, Object.entries(definition.targets ?? {}), OPERATION_OPTIONS);
}

/** The same of any work that has a name and targets. @param legal the options that it may have */
export function validateWork(
  name: string,
  definition: Readonly<Record<never, unknown>>,
  targets: readonly (readonly [service: string, run: unknown])[],
  legal: ReadonlySet<string>,
): void {
  const owner = `operation "${String(name)}"`;
  if (typeof name !== "string" || name === "") throw invalid(owner, "an operation needs a name");
  for (const option of Object.keys(definition)) {
    if (!legal.has(option)) throw invalid(owner, `${option} is unknown; the options are ${[...legal].join(", ")}`);
  }
  if (targets.length === 0) throw invalid(owner, "it has no target; give at least one service with its function");
  for (const [service, run] of targets) {
    if (service === "") throw invalid(owner, "a target needs the name of its service, such as llm:openai");
    if (typeof run !== "function") throw invalid(owner, `the target ${service} is not a function`);
  }
  validateWorkOptions(owner, definition);
}

/**
 * Checks what may be said about any piece of guarded work.
 *
 * @param owner whose options they are, as the error names it
 * @throws ParamedicError `OPERATION_INVALID` naming the owner, the option, what it got and what is legal.
 */
export function validateWorkOptions(
  owner: string,
  options: {
    readonly fallback?: unknown;
    readonly idempotent?: unknown;
    readonly timeoutMs?: unknown;
    readonly signal?: unknown;
  },
): void {
  const { fallback, idempotent, timeoutMs, signal } = options;
  if (fallback !== undefined && typeof fallback !== "function") throw invalid(owner, "the fallback is not a function");
  if (idempotent !== undefined && typeof idempotent !== "boolean") {
    throw invalid(owner, `idempotent got ${String(idempotent)}; legal: true or false`);
  }
  if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs >= 1 && timeoutMs <= MAX_TIMER_MS)) {
    throw invalid(owner, `timeoutMs got ${String(timeoutMs)}; legal: [1, ${MAX_TIMER_MS}]`);
  }
  // By what is asked of it: a polyfill's signal is as good as the platform's.
  if ((signal ?? undefined) !== undefined && typeof readProperty(signal, "addEventListener") !== "function") {
    throw invalid(owner, "the signal is no AbortSignal");
  }
}

/** Sound because an operation's arguments are typed by its targets, and a guard's own function takes none. */
export function applyTarget(run: TargetFunction, context: GuardContext, args: readonly unknown[]): unknown {
  return args.length === 0 ? run(context) : run(context, ...(args as never[]));
}

/** Sound for the same reason. Where the fallback says how old its value is, that comes with it. */
export async function applyFallback(
  fallback: FallbackFunction,
  failure: Failure,
  args: readonly unknown[],
): Promise<{ readonly value: unknown; readonly ageMs: number | undefined }> {
  if (!("detailed" in fallback) || typeof fallback.detailed !== "function") {
    return { value: await fallback(failure, ...(args as never)), ageMs: undefined };
  }
  const aged: AgedValue = await fallback.detailed(failure, ...args);
  return aged;
}

function invalid(owner: string, problem: string): ParamedicError {
  return new ParamedicError("OPERATION_INVALID", `${owner}: ${problem}`);
}
