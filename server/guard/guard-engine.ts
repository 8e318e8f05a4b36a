/** What every guarded call of one Paramedic shares. */
import type { Classification } from "../../shared/classification.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";
import type { CircuitBreakerRegistry } from "../circuit/circuit-breaker-registry.js";
import type { TimerWheel } from "../circuit/timer-wheel.js";
import type { CallContext } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { Journal } from "../ports/journal.js";
import type { Settings } from "../ports/settings.js";
import type { ServiceReach } from "./reach/service-reach.js";

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

export interface GuardEngine {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly timers: TimerWheel;
  /** Undefined while circuit breakers are switched off. */
  readonly registry: CircuitBreakerRegistry | undefined;
  readonly journal: Journal;
  readonly callContext: CallContext;
  readonly reach: ServiceReach;
  readonly settings: Settings;
  readonly strategies: () => readonly RecoveryStrategy[];
  readonly classify: (error: unknown, service: string) => Classification;
  readonly flags: GuardFlags;
  readonly limitedServices: readonly string[];
  readonly onFault: (error: unknown) => void;
}
