/** Knows the health checks, runs them in parallel with a timeout each, and keeps each one's last result with its age. */
import { ParamedicError } from "../../shared/errors.js";
import type { FailureCategory, FailureType } from "../../shared/failure.js";
import {
  CRITICALITIES,
  type Criticality,
  type HealthCheckResult,
  type HealthReport,
  overallHealth,
} from "../../shared/health.js";
import { MAX_TIMER_MS, SECOND_MS } from "../../shared/units.js";
import { type Clock, systemClock } from "../ports/clock.js";
import { type HealthCheck, type HealthCheckRun, runHealthCheck } from "./run-health-check.js";

export interface HealthCheckOptions {
  /** What it means for the whole: see `overallHealth`. @default "critical" */
  readonly criticality?: Criticality | undefined;
  /** How long one run may take; 1 to 2^31-1 ms. @default 5_000, or the registry's */
  readonly timeoutMs?: number | undefined;
  /** Whether how long it takes says something: then it is the metric `<name>.latency`. @default true */
  readonly recordsLatency?: boolean | undefined;
  /** What it is called as a failure once it is unhealthy. @default "health_check_failed" */
  readonly failureType?: FailureType | undefined;
  /** @default "internal_service" */
  readonly failureCategory?: FailureCategory | undefined;
}

export interface RegisteredHealthCheck
  extends Required<{ [K in keyof HealthCheckOptions]: NonNullable<HealthCheckOptions[K]> }> {
  readonly name: string;
}

export interface HealthCheckRegistryDeps {
  /** @default systemClock */
  readonly clock?: Clock | undefined;
}

export interface HealthCheckRegistryOptions {
  /** Of a check that names none; 1 to 2^31-1 ms. @default 5_000 */
  readonly timeoutMs?: number | undefined;
  /** How often checks are run by whoever runs them; 1 to 2^31-1 ms. A result three times as old is stale. @default 30_000 */
  readonly intervalMs?: number | undefined;
}

export const HEALTH_DEFAULTS = {
  timeoutMs: 5 * SECOND_MS,
  intervalMs: 30 * SECOND_MS,
} as const satisfies HealthCheckRegistryOptions;

/** A result older than this many intervals says nothing about now. */
const STALE_INTERVALS = 3;

interface Entry {
  readonly options: RegisteredHealthCheck;
  readonly check: HealthCheck;
  last: { readonly run: HealthCheckRun; readonly at: number; readonly checkedAt: number } | undefined;
  running: Promise<void> | undefined;
}

/**
 * @example
 * const health = new HealthCheckRegistry();
 * health.register("billing", async ({ signal }) => {
 *   const { ok } = await fetch("https://billing.example.org/ping", { signal });
 *   return { status: ok ? "healthy" : "unhealthy" };
 * }, { criticality: "important", timeoutMs: 2_000 });
 * const { overall, checks } = await health.executeAll();
 */
export class HealthCheckRegistry {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #entries = new Map<string, Entry>();
  #staleAfterMs: number;

  /** @throws ParamedicError `CONFIGURATION_INVALID` for options out of their range */
  constructor({ clock = systemClock }: HealthCheckRegistryDeps = {}, options: HealthCheckRegistryOptions = {}) {
    this.#clock = clock;
    this.#timeoutMs = legalMs("timeoutMs", options.timeoutMs ?? HEALTH_DEFAULTS.timeoutMs);
    this.#staleAfterMs = STALE_INTERVALS * legalMs("intervalMs", options.intervalMs ?? HEALTH_DEFAULTS.intervalMs);
  }

  /**
   * Adds a check, or replaces the one of the same name together with its last result.
   *
   * @throws ParamedicError `CONFIGURATION_INVALID` for an empty name, a check that is no function, or illegal options
   */
  register(name: string, check: HealthCheck, options: HealthCheckOptions = {}): void {
    if (typeof name !== "string" || name.trim() === "" || name.length > 100) {
      throw new ParamedicError("CONFIGURATION_INVALID", "a health check needs a name of 1 to 100 characters");
    }
    if (typeof check !== "function") {
      throw new ParamedicError("CONFIGURATION_INVALID", `health check "${name}" must be a function`);
    }
    const criticality = options.criticality ?? "critical";
    if (!CRITICALITIES.includes(criticality)) {
      const legal = CRITICALITIES.join(", ");
      throw new ParamedicError("CONFIGURATION_INVALID", `health check "${name}": criticality must be one of ${legal}`);
    }
    const settled: RegisteredHealthCheck = {
      name,
      criticality,
      timeoutMs: legalMs(`health check "${name}": timeoutMs`, options.timeoutMs ?? this.#timeoutMs),
      recordsLatency: options.recordsLatency ?? true,
      failureType: options.failureType ?? "health_check_failed",
      failureCategory: options.failureCategory ?? "internal_service",
    };
    this.#entries.set(name, { options: settled, check, last: undefined, running: undefined });
  }

  /** `false` when there is no such check. */
  unregister(name: string): boolean {
    return this.#entries.delete(name);
  }

  /** The checks as they are registered, in that order. */
  checks(): readonly RegisteredHealthCheck[] {
    return [...this.#entries.values()].map(({ options }) => options);
  }

  /**
   * Runs every check, in parallel, and reports. A check that is already running is joined, not started again. Takes at most
   * the longest timeout; never rejects.
   */
  executeAll(): Promise<HealthReport> {
    return this.execute([...this.#entries.keys()]);
  }

  /** Runs the named checks only; the report is about all. */
  async execute(names: readonly string[]): Promise<HealthReport> {
    const runs = names.map((name) => {
      const entry = this.#entries.get(name);
      return entry === undefined ? undefined : this.#run(entry);
    });
    await Promise.all(runs);
    return this.latest();
  }

  /** The last results, with their age; runs nothing. What is stale, or was never measured, is `unknown`. */
  latest(): HealthReport {
    const checks = [...this.#entries.values()].map((entry) => this.#resultOf(entry));
    return { overall: overallHealth(checks), checks, timestamp: this.#clock.now() };
  }

  /** Results count as stale after three of these intervals; the longest one wins. 1 to 2^31-1 ms. */
  expectEvery(intervalMs: number): void {
    this.#staleAfterMs = Math.max(this.#staleAfterMs, STALE_INTERVALS * legalMs("intervalMs", intervalMs));
  }

  #run(entry: Entry): Promise<void> {
    entry.running ??= runHealthCheck(this.#clock, entry.check, entry.options.timeoutMs).then((run) => {
      entry.last = { run, at: this.#clock.monotonic(), checkedAt: this.#clock.now() };
      entry.running = undefined;
    });
    return entry.running;
  }

  #resultOf({ options: { name, criticality }, last }: Entry): HealthCheckResult {
    if (last === undefined) {
      return {
        name,
        criticality,
        status: "unknown",
        latency: 0,
        message: "not measured yet",
        metadata: undefined,
        checkedAt: 0,
        ageMs: undefined,
      };
    }
    const { run, checkedAt } = last;
    const ageMs = this.#clock.monotonic() - last.at;
    if (ageMs <= this.#staleAfterMs) return { name, criticality, ...run, checkedAt, ageMs };
    const message = `last measured ${Math.round(ageMs / SECOND_MS)} s ago: ${run.status}`;
    return { name, criticality, ...run, status: "unknown", message, checkedAt, ageMs };
  }
}

function legalMs(what: string, value: number): number {
  if (Number.isFinite(value) && value >= 1 && value <= MAX_TIMER_MS) return value;
  throw new ParamedicError(
    "CONFIGURATION_INVALID",
    `${what} must be in [1, ${MAX_TIMER_MS}] ms; it is ${String(value)}`,
  );
}
