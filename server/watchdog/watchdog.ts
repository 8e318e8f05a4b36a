/**
 * Looks after Paramedic itself, every five minutes and when a repair failed: sweeps what was left open, has stuck tasks reset,
 * holds repairs back when they do harm, and tells somebody. What it decides is in `shared/safety.ts`; each step stands alone,
 * so that one that fails keeps no other from its turn.
 */
import type { Failure } from "../../shared/failure.js";
import type { HealthReport } from "../../shared/health.js";
import {
  type CheckStreaks,
  countChecks,
  failedInARow,
  judgeSafety,
  type OwnRate,
  ownRate,
  SAFETY_DEFAULTS,
  type SafetyConfig,
  type SafetyVerdict,
} from "../../shared/safety.js";
import { HOUR_MS, MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock, Timer } from "../ports/clock.js";
import type { Store } from "../ports/store.js";
import type { WatchdogAlert, WatchdogAlertStatus, WatchdogState } from "../ports/watchdog.js";
import { type LiveSettings, WATCHDOG } from "./live-settings.js";
import type { StuckTasks } from "./stuck-tasks.js";
import type { TaskRunner } from "./tasks.js";

export interface WatchdogDeps {
  readonly clock: Clock;
  readonly store: Pick<
    Store,
    "abandonExpired" | "releaseExpiredHolds" | "countActions" | "countTaskEnds" | "listRepairEnds" | "readTopProcedures"
  >;
  readonly settings: Pick<LiveSettings, "values" | "stored" | "demand">;
  readonly stuckTasks: Pick<StuckTasks, "find">;
  readonly tasks: Pick<TaskRunner, "writeLeftOver">;
  readonly health: () => HealthReport;
  /** Records a failure and has it repaired, if mode and stop allow it. Never rejects. */
  readonly repair: (failure: Failure) => Promise<unknown>;
  readonly alert: (alert: WatchdogAlert, status: WatchdogAlertStatus) => void;
  /** Told of every fault of our own. Must not throw. */
  readonly onFault: (error: unknown) => void;
}

export interface WatchdogOptions {
  /** @default 300_000 */
  readonly intervalMs?: number | undefined;
  /** How often the checks' results are counted; a failing one counts once for each. @default 30_000 */
  readonly checkIntervalMs?: number | undefined;
  /** No call and no action for this long is told. @default 3_600_000 */
  readonly silentAfterMs?: number | undefined;
  readonly safety?: Partial<SafetyConfig> | undefined;
}

export interface Watchdog {
  start(): void;
  stop(): Promise<void>;
  /** Beats now, or joins the beat under way. Never rejects. */
  beat(): Promise<void>;
  /** Something happened that a beat should judge: one comes within seconds. */
  poke(): void;
  /** Counts the checks' last results. */
  countChecks(): void;
  state(): WatchdogState;
}

export const WATCHDOG_DEFAULTS = {
  intervalMs: 5 * MINUTE_MS,
  checkIntervalMs: 30 * SECOND_MS,
  silentAfterMs: HOUR_MS,
} as const;

/** Under a storm of failed repairs it beats at most this often. */
const LEAST_BETWEEN_BEATS_MS = 5 * SECOND_MS;
/** A beat this much later than its time was missed. */
const LATE_AFTER_INTERVALS = 1.5;
/** Some ends say nothing of repairs: that a human was told, that one was called off. */
const ENDS_READ_FOR_ONE = 4;
/** How far back repairs in a row are looked for. */
const ROW_REACHES_MS = 24 * HOUR_MS;

export function createWatchdog(deps: WatchdogDeps, options: WatchdogOptions = {}): Watchdog {
  const { clock, store, settings, onFault } = deps;
  const intervalMs = options.intervalMs ?? WATCHDOG_DEFAULTS.intervalMs;
  const checkIntervalMs = options.checkIntervalMs ?? WATCHDOG_DEFAULTS.checkIntervalMs;
  const silentAfterMs = options.silentAfterMs ?? WATCHDOG_DEFAULTS.silentAfterMs;
  const safety: SafetyConfig = { ...SAFETY_DEFAULTS, ...options.safety };
  const createdAt = clock.monotonic();
  const firing = new Map<WatchdogAlert["rule"], WatchdogAlert>();
  const looked = new Set<WatchdogAlert["rule"]>();
  let startedAt: number | undefined;
  let streaks: CheckStreaks = new Map();
  let clearedAt = 0;
  let own: OwnRate = { ended: 0, failed: 0, rate: undefined };
  let verdict: SafetyVerdict = "normal";
  let beats = 0;
  let beatAt: number | undefined;
  let tookMs: number | undefined;
  let poking: Timer | undefined;

  const tell = (alert: WatchdogAlert, holds: boolean) => {
    const known = firing.get(alert.rule);
    const isFirstLook = !looked.has(alert.rule);
    looked.add(alert.rule);
    if (isFirstLook && !holds) deps.alert(alert, "calm");
    if (holds === (known !== undefined)) return;
    if (holds) firing.set(alert.rule, alert);
    else firing.delete(alert.rule);
    deps.alert(known ?? alert, holds ? "firing" : "resolved");
  };

  const judgeOwn = async () => {
    const range = { from: clock.now() - safety.windowMs, to: clock.now() + 1 };
    const [actions, tasks] = await Promise.all([store.countActions(range), store.countTaskEnds(range)]);
    own = ownRate(actions, tasks, safety);
    verdict = judgeSafety(own, safety);
    const said = `${own.failed} of ${own.ended} of Paramedic's own repairs and watched tasks failed in ${safety.windowMs / MINUTE_MS} minutes`;
    if (verdict !== "normal") settings.demand("safety_mode", true, said);
    // What an operator began, an operator ends.
    else if (settings.stored("safety_mode")?.changedBy === WATCHDOG) settings.demand("safety_mode", false, said);
    tell({ rule: "own_failure_rate", severity: "critical", summary: said }, verdict === "critical");
  };

  /** What led to a stop that an operator took back leads to no other. */
  const lookAtClearing = () => {
    const stored = settings.stored("emergency_stop");
    if (stored?.value !== false || stored.changedAt <= clearedAt) return;
    clearedAt = stored.changedAt;
    streaks = new Map([...streaks].map(([name, { checkedAt }]) => [name, { failures: 0, checkedAt }]));
  };

  const stop = (reason: string) => settings.demand("emergency_stop", true, reason);

  const judgeRepairs = async () => {
    lookAtClearing();
    const from = Math.max(clearedAt + 1, clock.now() - ROW_REACHES_MS);
    const ends = await store.listRepairEnds({ from, limit: ENDS_READ_FOR_ONE * safety.stopAfter });
    if (failedInARow(ends) >= safety.stopAfter) stop(`${safety.stopAfter} repairs failed in a row`);
  };

  const judgeChecks = () => {
    lookAtClearing();
    streaks = countChecks(streaks, deps.health().checks);
    for (const [name, { failures }] of streaks) {
      if (failures >= safety.stopAfter) stop(`the critical check ${name} failed ${failures} times in a row`);
    }
  };

  const tellStop = () => {
    const by = settings.stored("emergency_stop");
    const summary = `no repair begins until an operator takes the emergency stop back: ${by?.reason ?? "just decided"}`;
    tell({ rule: "emergency_stop", severity: "critical", summary }, settings.values().emergency_stop);
  };

  const judgeSilence = async () => {
    if (!settings.values().INSTRUMENTATION_ENABLED || clock.monotonic() - createdAt < silentAfterMs) return;
    const range = { from: clock.now() - silentAfterMs, to: clock.now() + 1 };
    const [calls, actions] = await Promise.all([
      store.readTopProcedures({ ...range, by: "calls", limit: 1 }),
      store.countActions(range),
    ]);
    const isSilent = actions.length === 0 && !calls.some((procedure) => procedure.calls > 0);
    const minutes = silentAfterMs / MINUTE_MS;
    tell({ rule: "no_activity", severity: "high", summary: `no call and no action for ${minutes} minutes` }, isSilent);
  };

  const resetStuck = async () => {
    for (const failure of await deps.stuckTasks.find()) await deps.repair(failure);
  };

  const steps: readonly (() => unknown)[] = [
    () => deps.tasks.writeLeftOver(),
    () => store.abandonExpired(clock.now()),
    () => store.releaseExpiredHolds(),
    resetStuck,
    judgeOwn,
    judgeRepairs,
    tellStop,
    judgeSilence,
  ];

  const loop = createLoop({
    clock,
    intervalMs,
    async run() {
      const begunAt = clock.monotonic();
      for (const step of steps) {
        try {
          await step();
        } catch (error) {
          onFault(error);
        }
      }
      beats += 1;
      beatAt = clock.monotonic();
      tookMs = Math.round(beatAt - begunAt);
    },
    onError: onFault,
  });
  const counting = createLoop({
    clock,
    intervalMs: checkIntervalMs,
    run: async () => judgeChecks(),
    onError: onFault,
  });

  return Object.freeze<Watchdog>({
    start() {
      startedAt ??= clock.monotonic();
      loop.start();
      counting.start();
      loop.wake();
    },
    async stop() {
      startedAt = undefined;
      poking?.cancel();
      poking = undefined;
      await Promise.all([loop.stop(), counting.stop()]);
    },
    beat: () => loop.runOnce(),
    poke() {
      if (startedAt === undefined || poking !== undefined) return;
      const sinceMs = clock.monotonic() - (beatAt ?? Number.NEGATIVE_INFINITY);
      poking = clock.setTimer(
        () => {
          poking = undefined;
          loop.wake();
        },
        Math.max(0, LEAST_BETWEEN_BEATS_MS - sinceMs),
      );
    },
    countChecks: judgeChecks,
    state() {
      const since = beatAt ?? startedAt;
      const waitedMs = since === undefined ? 0 : clock.monotonic() - since;
      return {
        beats,
        sinceMs: beatAt === undefined ? undefined : Math.round(clock.monotonic() - beatAt),
        tookMs,
        missed: startedAt !== undefined && waitedMs > LATE_AFTER_INTERVALS * intervalMs,
        verdict,
        own,
        firing: [...firing.values()],
      };
    },
  });
}
