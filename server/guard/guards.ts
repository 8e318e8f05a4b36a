/** Makes guards, operations and one-shot runs that share one engine of attempts, one set of services and one registry. */
import type { Classification } from "../../shared/classification.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";
import type { CallContext } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { Journal } from "../ports/journal.js";
import type { Logger } from "../ports/logger.js";
import type { MetricSink } from "../ports/metric-sink.js";
import type { Random } from "../ports/random.js";
import type { Settings } from "../ports/settings.js";
import type { CircuitBreakerRegistry } from "../circuit/circuit-breaker-registry.js";
import type { Detailed, Guard } from "./guard.js";
import type { GuardPolicy } from "./guard-policy.js";
import type { Operation, OperationDefinition, TargetArgs, TargetResult, Targets } from "./operation.js";
import type { RunDefinition } from "./run.js";

/** Which parts are switched on. A part that is off passes through. */
export interface GuardFlags {
  /** Off: guards run what they are given and do nothing else. */
  readonly enabled: boolean;
  readonly circuitBreakers: boolean;
  /** Off: no rescues at all. */
  readonly autoRecovery: boolean;
  readonly retry: boolean;
  readonly failover: boolean;
}

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
  readonly instance: string;
  readonly flags: GuardFlags;
  readonly logger: Logger;
  /** Told of faults of our own; must not throw. */
  readonly onFault: (error: unknown) => void;
  /** What mode `limited` may touch. @default ["llm:*"] */
  readonly limitedServices?: readonly string[] | undefined;
}

export interface Guards {
  /**
   * The guard of `service`; the same one for the same name. The first policy given for a name stands.
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
