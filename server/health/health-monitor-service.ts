/** Runs the health checks in the background, sooner while something is wrong, and says what changed. */
import type { HealthCheckResult, HealthReport, HealthStatus } from "../../shared/health.js";
import { healthValue } from "../../shared/health.js";
import { MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { createLoop, type Loop } from "../loop.js";
import { type Clock, systemClock, type Timer } from "../ports/clock.js";
import { type Ids, systemIds } from "../ports/ids.js";
import { type Journal, noJournal } from "../ports/journal.js";
import { type Logger, silentLogger } from "../ports/logger.js";
import type { MetricSink } from "../ports/metric-sink.js";
import type { HealthCheckRegistry, RegisteredHealthCheck } from "./health-check-registry.js";
import { HEALTH_DEFAULTS } from "./health-check-registry.js";

export interface HealthMonitorDeps {
  /** @default systemClock */
  readonly clock?: Clock | undefined;
  /** @default systemIds */
  readonly ids?: Ids | undefined;
  /** @default none */
  readonly logger?: Logger | undefined;
  /** Gets a failure when a critical or important check turns unhealthy. @default none */
  readonly journal?: Journal | undefined;
  /** Told of every fault of our own. Must not throw. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

export interface HealthMonitorOptions {
  /** How often all checks run; 1 to 2^31-1 ms. @default 30_000 */
  readonly intervalMs?: number | undefined;
}

/** A check that is not healthy runs again after one second; after a minute without change, after five. */
const REPEAT_MS = SECOND_MS;
const SETTLED_REPEAT_MS = 5 * SECOND_MS;
const SETTLED_AFTER_MS = MINUTE_MS;

/** Under a storm of outcomes all checks run at most this often. */
const LEAST_BETWEEN_POKES_MS = SECOND_MS;

/** @example repeatAfterMs(0) // 1_000 */
export function repeatAfterMs(unchangedForMs: number): number {
  return unchangedForMs < SETTLED_AFTER_MS ? REPEAT_MS : SETTLED_REPEAT_MS;
}

/**
 * Records `<check>.latency` (ms, type `health_check`) and `overall_health` (1, 0.5, 0), logs one line per change of a status,
 * and journals what turned unhealthy. Answers are read from the registry: `registry.latest()`.
 *
 * @example
 * const monitor = new HealthMonitorService(registry, collector);
 * monitor.start();
 * await monitor.stop();
 */
export class HealthMonitorService {
  readonly #registry: HealthCheckRegistry;
  readonly #collector: MetricSink;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #logger: Logger;
  readonly #journal: Journal;
  readonly #onFault: (error: unknown) => void;
  readonly #intervalMs: number;
  readonly #loop: Loop;
  readonly #statuses = new Map<string, HealthStatus>();
  #overall: HealthStatus = "unknown";
  #changedAt: number;
  #ranAllAt: number | undefined;
  #dueAll = true;
  #poking: Timer | undefined;
  #started = false;

  /** @throws ParamedicError `CONFIGURATION_INVALID` for an interval out of its range */
  constructor(
    registry: HealthCheckRegistry,
    collector: MetricSink,
    deps: HealthMonitorDeps = {},
    { intervalMs = HEALTH_DEFAULTS.intervalMs }: HealthMonitorOptions = {},
  ) {
    registry.expectEvery(intervalMs);
    this.#registry = registry;
    this.#collector = collector;
    this.#clock = deps.clock ?? systemClock;
    this.#ids = deps.ids ?? systemIds;
    this.#logger = deps.logger ?? silentLogger;
    this.#journal = deps.journal ?? noJournal;
    this.#onFault = deps.onFault ?? (() => {});
    this.#intervalMs = intervalMs;
    this.#changedAt = this.#clock.monotonic();
    this.#loop = createLoop({
      clock: this.#clock,
      intervalMs: () => this.#nextAfterMs(),
      run: () => this.#check(),
      onError: this.#onFault,
    });
  }

  /** Runs all checks now and from then on. Starting twice is once. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#dueAll = true;
    this.#loop.start();
    this.#loop.wake();
  }

  /** Resolves when the checks that are running have ended. */
  async stop(): Promise<void> {
    this.#started = false;
    this.#poking?.cancel();
    this.#poking = undefined;
    await this.#loop.stop();
  }

  /** Something happened that health may depend on: all checks run at once, or within a second where they just did. */
  poke(): void {
    if (!this.#started || this.#poking !== undefined) return;
    const sinceMs = this.#ranAllAt === undefined ? Infinity : this.#clock.monotonic() - this.#ranAllAt;
    if (sinceMs >= LEAST_BETWEEN_POKES_MS) {
      this.#dueAll = true;
      this.#loop.wake();
      return;
    }
    this.#poking = this.#clock.setTimer(() => {
      this.#poking = undefined;
      this.#dueAll = true;
      this.#loop.wake();
    }, LEAST_BETWEEN_POKES_MS - sinceMs);
  }

  async #check(): Promise<void> {
    const checks = this.#registry.checks();
    const now = this.#clock.monotonic();
    const all = this.#dueAll || this.#ranAllAt === undefined || now - this.#ranAllAt >= this.#intervalMs;
    if (all) {
      this.#dueAll = false;
      this.#ranAllAt = now;
    }
    const due = all ? checks : checks.filter(({ name }) => this.#statuses.get(name) !== "healthy");
    const report = await this.#registry.execute(due.map(({ name }) => name));
    const byName = new Map(report.checks.map((result) => [result.name, result]));
    for (const check of due) {
      const result = byName.get(check.name);
      if (result !== undefined) this.#note(check, result);
    }
    for (const name of this.#statuses.keys()) if (!byName.has(name)) this.#statuses.delete(name);
    this.#noteOverall(report);
  }

  #note(check: RegisteredHealthCheck, result: HealthCheckResult): void {
    if (check.recordsLatency) {
      this.#collector.record({
        metricType: "health_check",
        // `database:archive` is one more of the series `database.latency`.
        metricName: `${check.name.split(":", 1)[0]}.latency`,
        value: result.latency,
        unit: "ms",
        source: check.name,
        tags: { status: result.status },
        kind: "histogram",
      });
    }
    const before = this.#statuses.get(check.name) ?? "unknown";
    this.#statuses.set(check.name, result.status);
    if (before === result.status) return;
    this.#changedAt = this.#clock.monotonic();
    this.#logger[levelOf(result.status)](
      { event: "health", subject: check.name, from: before, to: result.status, latencyMs: result.latency },
      `health of ${check.name}: ${result.status}${result.message === undefined ? "" : `, ${result.message}`}`,
    );
    if (result.status === "unhealthy" && check.criticality !== "optional") this.#journalFailure(check, result);
  }

  #journalFailure(check: RegisteredHealthCheck, result: HealthCheckResult): void {
    this.#journal.append({
      type: "failure.observed",
      rescued: false,
      failure: {
        eventId: this.#ids(),
        timestamp: this.#clock.now(),
        failureCategory: check.failureCategory,
        failureType: check.failureType,
        severity: check.criticality === "critical" ? "critical" : "high",
        affectedService: check.name,
        errorMessage: result.message ?? `${check.name} is unhealthy`,
        context: { check: check.name, criticality: check.criticality, latencyMs: result.latency },
        detectionMethod: "health_check",
      },
    });
  }

  #noteOverall({ overall }: HealthReport): void {
    this.#collector.record({
      metricType: "system",
      metricName: "overall_health",
      value: healthValue(overall),
      source: "health",
      kind: "gauge",
    });
    if (overall === this.#overall) return;
    const before = this.#overall;
    this.#overall = overall;
    this.#logger[levelOf(overall)](
      { event: "health", subject: "overall", from: before, to: overall },
      `overall health: ${overall}`,
    );
  }

  #nextAfterMs(): number {
    const now = this.#clock.monotonic();
    const untilAllMs = this.#ranAllAt === undefined ? 0 : Math.max(0, this.#intervalMs - (now - this.#ranAllAt));
    const allHealthy = [...this.#statuses.values()].every((status) => status === "healthy");
    return allHealthy ? untilAllMs : Math.min(untilAllMs, repeatAfterMs(now - this.#changedAt));
  }
}

function levelOf(status: HealthStatus): "info" | "warn" | "error" {
  switch (status) {
    case "healthy":
      return "info";
    case "degraded":
    case "unknown":
      return "warn";
    case "unhealthy":
      return "error";
  }
}
