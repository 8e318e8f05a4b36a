/** All that guards and operations share about one service: its circuit, bulkhead, retry budget, cooldown and measurements. */
import type { Outcome } from "../../shared/outcome.js";
import type { CircuitBreaker } from "../circuit/circuit-breaker.js";
import type { CircuitBreakerRegistry } from "../circuit/circuit-breaker-registry.js";
import type { Clock } from "../ports/clock.js";
import type { MetricSink, SeriesHandle } from "../ports/metric-sink.js";
import { type Bulkhead, createBulkhead } from "./bulkhead.js";
import type { GuardSnapshot } from "./guard.js";
import type { ResolvedGuardPolicy } from "./guard-policy.js";
import type { NetworkWatch, WatchedService } from "./network-watch.js";
import type { Callers, ServiceReach } from "./reach/service-reach.js";
import { createRecentDurations, type RecentDurations } from "./recent-durations.js";
import type { RescueBudget } from "./rescue-budget.js";
import { createRetryBudget, type RetryBudget } from "./retry-budget.js";
import { mayAdmit } from "./service-part.js";

export interface GuardedServiceDeps {
  readonly clock: Clock;
  readonly sink: MetricSink;
  /** Undefined while circuit breakers are switched off. */
  readonly registry: CircuitBreakerRegistry | undefined;
  /** Of all services of its kind; undefined while circuit breakers are switched off. */
  readonly network: NetworkWatch | undefined;
  readonly reach: ServiceReach;
  /** Its own, or one that it shares; undefined where nothing but the retry budget bounds rescues. */
  readonly rescueBudget: RescueBudget | undefined;
}

/** `won`: it answered first · `lost`: it did not · `refused`: it was not sent, for whatever reason. */
export type HedgeOutcome = "won" | "lost" | "refused";

const CIRCUIT_KNOWN_MS = 1_000;

export class GuardedService implements WatchedService {
  readonly name: string;
  readonly policy: ResolvedGuardPolicy;
  readonly bulkhead: Bulkhead | undefined;
  readonly budget: RetryBudget;
  readonly rescueBudget: RescueBudget | undefined;
  readonly network: NetworkWatch | undefined;
  /** The procedures that ask it. */
  readonly callers: Callers;
  /** Nothing is waited for at its door, and nothing watches its attempts. */
  readonly beginsAtOnce: boolean;
  /** Attempts whose work has not ended. */
  inFlight = 0;
  answeredAt = Number.NEGATIVE_INFINITY;
  readonly #deps: GuardedServiceDeps;
  readonly #durations = new Map<Outcome, SeriesHandle>();
  readonly #successDurations: SeriesHandle;
  /** Of answers, where hedges go by them. */
  readonly #answers: RecentDurations | undefined;
  #circuit: CircuitBreaker | undefined = undefined;
  /** Monotonic. */
  #circuitIsKnownUntil = Number.NEGATIVE_INFINITY;
  /** Monotonic; until then the service rests. */
  #restsUntil = Number.NEGATIVE_INFINITY;

  constructor(name: string, policy: ResolvedGuardPolicy, deps: GuardedServiceDeps) {
    const { maxConcurrent, maxQueued } = policy;
    this.name = name;
    this.policy = policy;
    this.#deps = deps;
    this.network = deps.network;
    this.callers = deps.reach.callersOf(name);
    this.bulkhead = maxConcurrent === undefined ? undefined : createBulkhead({ maxConcurrent, maxQueued });
    this.beginsAtOnce = maxConcurrent === undefined && policy.hedge === undefined;
    this.budget = createRetryBudget(policy.retryBudget, deps.clock.monotonic());
    this.rescueBudget = deps.rescueBudget;
    const percentile = policy.hedge?.afterPercentile;
    this.#answers = percentile === undefined ? undefined : createRecentDurations(percentile);
    this.#successDurations = this.#durationsOf("success");
    this.circuit();
  }

  /**
   * A registry lets circuits leave that nobody used for long, so it is asked again now and then: not at each call, where the
   * look-up would cost more than the circuit.
   *
   * @param now monotonic milliseconds, when the caller has just read them
   */
  circuit(now: number = this.#deps.clock.monotonic()): CircuitBreaker | undefined {
    if (now < this.#circuitIsKnownUntil) return this.#circuit;
    this.#circuitIsKnownUntil = now + CIRCUIT_KNOWN_MS;
    this.#circuit =
      this.#deps.registry?.get(this.name) ?? this.#deps.registry?.getOrCreate(this.name, this.policy.circuit);
    return this.#circuit;
  }

  /** Lets the service rest for `holdMs`; a rest that is longer already stays. */
  rest(holdMs: number, now: number): void {
    this.#restsUntil = Math.max(this.#restsUntil, now + holdMs);
  }

  restsForMs(now: number): number {
    return Math.max(this.#restsUntil - now, 0);
  }

  /**
   * As far as can be told without asking: a half-open circuit may still refuse.
   *
   * @param restMs as long as this it may rest still
   */
  admits(now: number, restMs = 0): boolean {
    if (this.#restsUntil - now > restMs) return false;
    if (this.network !== undefined && this.network.holdsForMs(this, now) > 0) return false;
    const circuit = this.circuit(now);
    return circuit === undefined || mayAdmit(circuit, this.#deps.clock.now());
  }

  /** After how long an attempt is late; undefined while that is not known. */
  lateAfterMs(): number | undefined {
    return this.#answers?.percentileMs() ?? this.policy.hedge?.afterMs;
  }

  /** How long an answer took; of an attempt that was called off, how long at least it would have. */
  learnAnswer(durationMs: number): void {
    this.#answers?.add(durationMs);
  }

  /** What became of the hedges of its attempts. */
  countHedge(outcome: HedgeOutcome): void {
    const source = `guard.${this.name}`;
    const series = this.#deps.sink.series({
      metricType: "operation",
      metricName: `${source}.hedges`,
      kind: "counter",
      unit: "{hedge}",
      source,
      tags: { outcome },
    });
    series.record(1);
  }

  record(outcome: Outcome, durationMs: number): void {
    const series = outcome === "success" ? this.#successDurations : this.#durationsOf(outcome);
    series.record(durationMs);
  }

  snapshot(): GuardSnapshot {
    const now = this.#deps.clock.monotonic();
    return {
      name: this.name,
      circuit: this.circuit(now)?.snapshot(),
      inFlight: this.inFlight,
      queued: this.bulkhead?.queued ?? 0,
      cooldownMs: this.restsForMs(now),
      retryTokens: this.budget.tokens(now),
      rescueBudget: this.rescueBudget && { name: this.rescueBudget.name, left: this.rescueBudget.left(now) },
    };
  }

  #durationsOf(outcome: Outcome): SeriesHandle {
    const known = this.#durations.get(outcome);
    if (known !== undefined) return known;
    const source = `guard.${this.name}`;
    const series = this.#deps.sink.series({
      metricType: "operation",
      metricName: `${source}.duration`,
      kind: "histogram",
      unit: "ms",
      source,
      tags: { outcome },
    });
    this.#durations.set(outcome, series);
    return series;
  }
}
