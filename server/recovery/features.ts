/**
 * Features that are switched off while what they depend on is broken, so that the rest of the app goes on without them. What
 * the rows say is what holds, in every instance: a feature is off while the failure behind its last degrading is open, or a
 * service of it is not healthy.
 */
import type { Failure, FailureType } from "../../shared/failure.js";
import { matchesName } from "../../shared/mode.js";
import type { RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import { DAY_MS, SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";
import type { Journal } from "../ports/journal.js";
import type { FailureStore, RecoveryStore } from "../ports/store.js";

export interface FeatureOptions {
  /** Services that the feature cannot do without: names, or prefixes ending in `*`. */
  readonly dependsOn: readonly string[];
  /** Failures of them that switch it off. @default those by which a service is away */
  readonly failureTypes?: readonly FailureType[] | undefined;
  /** Among the repairs of a service; lower runs first, and the first that succeeds is the last. @default 3 */
  readonly priority?: number | undefined;
}

export interface Feature {
  readonly name: string;
  /** False while the feature is degraded. A read of memory: ask as often as you like. */
  isOn(): boolean;
}

export interface FeaturesDeps {
  readonly clock: Clock;
  readonly store: Pick<RecoveryStore, "listRecoveries"> & Pick<FailureStore, "getFailure">;
  readonly journal: Journal;
  readonly registerStrategy: (strategy: RecoveryStrategy) => void;
  /** Whether a service may be relied on again, as far as circuits and health checks say. */
  readonly isHealthy: (service: string) => boolean;
  readonly onFault: (error: unknown) => void;
}

export interface Features {
  /** The feature of that name; asking twice is once, and the first options stand. */
  feature(name: string, options: FeatureOptions): Feature;
  start(): void;
  stop(): Promise<void>;
  /** Names of those that are off now. */
  off(): readonly string[];
}

const AWAY: readonly FailureType[] = [
  "api_timeout",
  "connection_refused",
  "dns_error",
  "quota_exceeded",
  "service_unavailable",
  "server_error",
  "auth_failed",
  "model_unavailable",
  "database_connection",
  "database_readonly",
  "disk_full",
  "redis_connection",
  "health_check_failed",
];

/** How soon an instance follows what another one stored, and looks whether a feature may be on again. */
const LOOK_EVERY_MS = 5 * SECOND_MS;

/** What was switched off here a moment ago has no row yet that says so. */
const ROW_WRITTEN_MS = 30 * SECOND_MS;

interface Degraded {
  readonly service: string;
  readonly failureEventId: string;
  readonly since: number;
  /** This instance switched it off, and writes down when it is on again. */
  readonly own: boolean;
}

/** How a feature is switched off, as a repair of the service that failed. */
export function degradeStrategyOf(feature: string): string {
  return `degrade:${feature}`;
}

export function createFeatures(deps: FeaturesDeps): Features {
  const { clock, store, journal, registerStrategy, isHealthy, onFault } = deps;
  const features = new Map<string, Feature>();
  const degraded = new Map<string, Degraded>();

  const strategyOf = (name: string, { dependsOn, failureTypes = AWAY, priority = 3 }: FeatureOptions) => {
    const strategy: RecoveryStrategy = {
      name: degradeStrategyOf(name),
      scope: "service",
      actionType: "degrade",
      priority,
      applicableFailureTypes: failureTypes,
      appliesTo: ({ affectedService }) => dependsOn.some((pattern) => matchesName(pattern, affectedService)),
      async execute(failure: Failure): Promise<StrategyResult> {
        degraded.set(name, {
          service: failure.affectedService,
          failureEventId: failure.eventId,
          since: clock.now(),
          own: true,
        });
        return {
          success: true,
          actionType: "degrade",
          actionStrategy: strategy.name,
          durationMs: 0,
          message: `${name} is off until ${failure.affectedService} is healthy`,
          metadata: { feature: name },
        };
      },
      verify: async () => degraded.has(name),
      async rollback() {
        degraded.delete(name);
      },
    };
    return strategy;
  };

  /** The degrading that holds, whoever carried it out. */
  const stored = async (name: string): Promise<Degraded | undefined> => {
    const from = clock.now() - DAY_MS;
    const query = { actionStrategy: degradeStrategyOf(name), status: "succeeded", from, limit: 1 } as const;
    const [row] = (await store.listRecoveries(query)).items;
    if (!row) return undefined;
    const event = await store.getFailure(row.failureEventId);
    const holds = event !== undefined && (!event.resolved || !isHealthy(row.target));
    if (!holds) return undefined;
    const { target: service, failureEventId, timestamp: since } = row;
    return { service, failureEventId, since, own: degraded.get(name)?.own === true };
  };

  const restored = (name: string, { failureEventId, service, since }: Degraded) => {
    journal.append({
      type: "rescue.ended",
      rescue: {
        failureEventId,
        timestamp: clock.now(),
        actionType: "reset",
        actionStrategy: `restore:${name}`,
        status: "succeeded",
        target: service,
        durationMs: Math.max(0, clock.now() - since),
        message: `${name} is on again`,
        metadata: { feature: name },
        dryRun: false,
        scope: "service",
      },
    });
  };

  const look = async () => {
    for (const name of features.keys()) {
      const [before, now] = [degraded.get(name), await stored(name)];
      if (now) degraded.set(name, now);
      else if (before && clock.now() - before.since >= ROW_WRITTEN_MS) {
        degraded.delete(name);
        if (before.own) restored(name, before);
      }
    }
  };
  const loop = createLoop({ clock, intervalMs: LOOK_EVERY_MS, run: look, onError: onFault });

  return Object.freeze<Features>({
    feature(name, options) {
      const known = features.get(name);
      if (known) return known;
      registerStrategy(strategyOf(name, options));
      const feature = Object.freeze<Feature>({ name, isOn: () => !degraded.has(name) });
      features.set(name, feature);
      return feature;
    },
    start: () => loop.start(),
    stop: () => loop.stop(),
    off: () => [...degraded.keys()],
  });
}
