/** Makes guards, operations and one-shot runs that share one engine of attempts, one set of services and one registry. */
import type { Classification } from "../../shared/classification.js";
import { ParamedicError } from "../../shared/errors.js";
import { LIMITED_SERVICES_DEFAULT } from "../../shared/mode.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";
import type { CircuitBreakerRegistry } from "../circuit/circuit-breaker-registry.js";
import type { CallContext, CallInfo } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { Journal } from "../ports/journal.js";
import type { Logger } from "../ports/logger.js";
import type { MetricSink } from "../ports/metric-sink.js";
import type { Random } from "../ports/random.js";
import type { Settings } from "../ports/settings.js";
import type { TargetFunctions } from "./asked-work.js";
import { AttemptCall } from "./attempt-call.js";
import type { Detailed, ExecuteOptions, Guard, GuardContext } from "./guard.js";
import type { GuardEngine, GuardFlags } from "./guard-engine.js";
import type { GuardPolicy } from "./guard-policy.js";
import { GuardedCall } from "./guarded-call.js";
import type { GuardedService } from "./guarded-service.js";
import { createGuardedServices } from "./guarded-services.js";
import {
  applyTarget,
  type Operation,
  type OperationDefinition,
  type TargetArgs,
  type TargetFunction,
  type TargetResult,
  type Targets,
  validateOperation,
  validateWorkOptions,
} from "./operation.js";
import { passThrough, type Runnable, rejectWith, unguardedContext } from "./pass-through.js";
import { runPlainly } from "./plain-call.js";
import { ServiceReach } from "./reach/service-reach.js";
import type { Work } from "./rescuable-call.js";
import { type RunDefinition, type TargetTraits, validateRun } from "./run.js";

export const GUARD_FLAGS_ON: GuardFlags = Object.freeze({
  enabled: true,
  circuitBreakers: true,
  autoRecovery: true,
  retry: true,
  failover: true,
});

export interface GuardsDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly ids: Ids;
  /** Where circuits come from: one per service, under the service's name. */
  readonly registry: CircuitBreakerRegistry;
  readonly journal: Journal;
  readonly callContext: CallContext;
  readonly settings: Settings;
  readonly sink: MetricSink;
  /** Read at each failure; only the call-scoped ones are used. */
  readonly strategies: () => readonly RecoveryStrategy[];
  readonly classify: (error: unknown, service: string) => Classification;
  readonly flags: GuardFlags;
  readonly logger: Logger;
  /** Told which procedures ask which services. @default one of its own */
  readonly reach?: ServiceReach | undefined;
  /** Told of faults of our own; must not throw. */
  readonly onFault: (error: unknown) => void;
  /** What mode `limited` may touch. @default ["llm:*"] */
  readonly limitedServices?: readonly string[] | undefined;
}

export interface Guards {
  /**
   * The guard of `service`; the same one for the same name. The first policy given for a name stands; a different one later
   * is logged and has no effect. An operation's target without a policy gets the defaults at the operation's first call.
   *
   * @throws ParamedicError `CONFIGURATION_INVALID` for a policy out of its legal ranges.
   */
  guard(service: string, policy?: GuardPolicy): Guard;
  /** @throws ParamedicError `OPERATION_INVALID` at once, not at the first call. */
  operation<const T extends Targets, F = never>(
    name: string,
    definition: OperationDefinition<T, F>,
  ): Operation<TargetArgs<T>, TargetResult<T> | F>;
  /** @throws ParamedicError `OPERATION_INVALID`, as a rejection. */
  run<T>(name: string, definition: RunDefinition<T>): Promise<T>;
  runDetailed<T>(name: string, definition: RunDefinition<T>): Promise<Detailed<T>>;
  /** Every guard made so far. */
  all(): readonly Guard[];
}

/**
 * @param defaults policy of every service, under what each guard says itself
 * @throws ParamedicError `CONFIGURATION_INVALID` for defaults out of their legal ranges
 * @example
 * const guards = createGuards(deps, { timeoutMs: 10_000 });
 * const invoice = await guards.guard("http:billing").execute(({ signal }) => fetchInvoice(id, { signal }));
 */
export function createGuards(deps: GuardsDeps, defaults: GuardPolicy = {}): Guards {
  const { clock, random, sink, logger, onFault, flags, callContext } = deps;
  const registry = flags.enabled && flags.circuitBreakers ? deps.registry : undefined;
  const { reach = new ServiceReach() } = deps;
  const services = createGuardedServices({ clock, random, sink, logger, onFault, registry, reach }, defaults);
  const guards = new Map<GuardedService, Guard>();
  const engine: GuardEngine = {
    ...deps,
    registry,
    reach,
    timers: deps.registry.timers,
    limitedServices: deps.limitedServices ?? LIMITED_SERVICES_DEFAULT,
  };

  const begin = (
    work: Work,
    functions: TargetFunctions,
    args: readonly unknown[],
    call: CallInfo | undefined,
  ): Runnable => {
    if (flags.enabled) return new GuardedCall(engine, work, functions, args, call, clock.monotonic());
    const context = unguardedContext(work.signal ?? call?.signal);
    const [{ name: target }] = work.services;
    return passThrough(() => applyTarget(functions[0], context, args), { target, clock });
  };

  const createGuard = (service: GuardedService): Guard => {
    const plain = workOf([service], NO_OPTIONS);
    const beginOne = <T>(fn: GuardedFunction<T>, options: ExecuteOptions<T> | undefined): Runnable => {
      try {
        if (options !== undefined) validateWorkOptions(`guard "${service.name}"`, options);
      } catch (error) {
        return rejectWith(error);
      }
      const call = callContext.current();
      // An attempt of this very service is under way around it: what a guard does is done there.
      const around = call instanceof AttemptCall ? call.within(service.name) : undefined;
      if (around !== undefined) return passThrough(() => fn(around.attempt), { target: service.name, clock });
      return begin(options === undefined ? plain : workOf([service], options), [fn], NOTHING, call);
    };
    const runPlain = <T>(fn: GuardedFunction<T>, options: ExecuteOptions<T> | undefined) =>
      flags.enabled && options === undefined && callContext.current() === undefined
        ? runPlainly(engine, plain, fn, clock.monotonic())
        : undefined;
    return Object.freeze({
      name: service.name,
      execute: <T>(fn: GuardedFunction<T>, options?: ExecuteOptions<T>) =>
        typed<T>(runPlain(fn, options) ?? beginOne(fn, options).run()),
      executeDetailed: <T>(fn: GuardedFunction<T>, options?: ExecuteOptions<T>) =>
        typed<Detailed<T>>(beginOne(fn, options).runDetailed()),
      snapshot: () => service.snapshot(),
    });
  };

  const guardOf = (service: GuardedService): Guard => {
    const guard = guards.get(service) ?? createGuard(service);
    guards.set(service, guard);
    return guard;
  };

  const prepare = (
    name: string,
    targets: readonly (readonly [string, TargetFunction])[],
    options: WorkOptions,
    traits?: readonly TargetTraits[],
  ): ((args: readonly unknown[]) => Runnable) => {
    const used = atLeastOne(targets.map(([service]) => services.of(service)));
    const functions = atLeastOne(targets.map(([, run]) => run));
    const work: Work = { ...workOf(used, options, name), traits };
    return (args) => begin(work, functions, args, callContext.current());
  };

  const beginRun = <T>(name: string, definition: RunDefinition<T>): Runnable => {
    validateRun(name, definition);
    callContext.enable();
    const targets = definition.targets.map(({ service, run }) => [service, run] as const);
    return prepare(name, targets, definition, definition.targets)(NOTHING);
  };

  return Object.freeze({
    guard(name: string, policy?: GuardPolicy) {
      callContext.enable();
      return guardOf(services.of(name, policy));
    },
    operation<const T extends Targets, F = never>(name: string, definition: OperationDefinition<T, F>) {
      validateOperation(name, definition);
      callContext.enable();
      // At the first call, so that policies given after this definition count.
      let prepared: ((args: readonly unknown[]) => Runnable) | undefined;
      const beginCall = (args: readonly unknown[]): Runnable => {
        prepared ??= prepare(name, Object.entries(definition.targets), definition);
        return prepared(args);
      };
      const operation = (...args: TargetArgs<T>) => typed<TargetResult<T> | F>(beginCall(args).run());
      return Object.assign(operation, {
        detailed: (...args: TargetArgs<T>) => typed<Detailed<TargetResult<T> | F>>(beginCall(args).runDetailed()),
        operationName: name,
      });
    },
    run: async <T>(name: string, definition: RunDefinition<T>) => typed<T>(beginRun(name, definition).run()),
    runDetailed: async <T>(name: string, definition: RunDefinition<T>) =>
      typed<Detailed<T>>(beginRun(name, definition).runDetailed()),
    all: () => services.all().map(guardOf),
  });
}

type GuardedFunction<T> = (context: GuardContext) => T | Promise<T>;

type WorkOptions = Partial<Pick<Work, "fallback" | "idempotent" | "timeoutMs" | "signal">>;

const NOTHING: readonly unknown[] = Object.freeze([]);
const NO_OPTIONS: WorkOptions = Object.freeze({});

function workOf(services: Work["services"], options: WorkOptions, name?: string): Work {
  const { fallback, idempotent, timeoutMs, signal } = options;
  return { name, services, fallback, idempotent, timeoutMs, signal };
}

/** Definitions are validated before: an operation without a target does not come this far. */
function atLeastOne<T>([first, ...rest]: readonly T[]): readonly [T, ...T[]] {
  if (first === undefined) throw new ParamedicError("OPERATION_INVALID", "an operation needs at least one target");
  return [first, ...rest];
}

/** Sound because a value comes from a target or a fallback, which are typed `T`, or from a strategy that answers for them. */
function typed<T>(value: Promise<unknown>): Promise<T> {
  return value as Promise<T>;
}
