/**
 * Folds every measurement of this process into windows and sends each window once: freeze, append, and again with the same
 * id until the stream has it. While the stream is away, windows merge, so that memory follows the number of series only.
 *
 * A point is, at any time, in exactly one of four places, which is law 5 inside one process:
 *
 *   recorded = sent + handedOver + dropped{reason} + inFlight (live windows, the unsent window, frozen batches)
 *
 * It is one file because every move of a point from one place to another stands here, and only here.
 */
import type { CumulativeSeries } from "../../shared/cumulative-series.js";
import { isParamedicError, ParamedicError } from "../../shared/errors.js";
import {
  type Batch,
  METRIC_TYPES,
  pointsIn,
  SERIES_KINDS,
  type SeriesDescriptor,
  type SeriesSummary,
} from "../../shared/series.js";
import { DAY_MS, MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { createLoop, type Loop } from "../loop.js";
import { type Clock, nextTurn } from "../ports/clock.js";
import type { Logger } from "../ports/logger.js";
import type { MetricPoint, MetricSink, SeriesHandle } from "../ports/metric-sink.js";
import type { MetricStream } from "../ports/metric-stream.js";
import { type CollectorOptions, type ResolvedCollectorOptions, resolveCollectorOptions } from "./collector-options.js";
import { CumulativeView } from "./cumulative-view.js";
import type { LiveSeries, SeriesOwner } from "./live-series.js";
import { createOutage, type Outage } from "./outage.js";
import { descriptorOf } from "./point-descriptor.js";
import { SeriesRegistry } from "./series-registry.js";
import { settlesWithin } from "./settles-within.js";
import { UnsentWindow } from "./unsent-window.js";

export type { CollectorOptions } from "./collector-options.js";

export interface CollectorDeps {
  readonly clock: Clock;
  /** Where batches go; without one they wait, merged, for `drain`. */
  readonly stream: MetricStream | undefined;
  /** This process's name. */
  readonly instance: string;
  /** Names this life of it: unique, without ":". */
  readonly boot: string;
  readonly logger?: Logger | undefined;
  /** Told of every fault of the stream. Must not throw. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

/** Why a point was dropped: no finite number, negative where none can be, not a point at all, or after `stop`. */
export type DropReason = "not_finite" | "negative" | "invalid" | "closed";

/** Law 5 inside this process: `recorded = sent + handedOver + inFlight + the sum of dropped`. */
export interface CollectorAccounting {
  readonly recorded: number;
  /** Points that the stream has confirmed. */
  readonly sent: number;
  /** Points that `drain` gave away. */
  readonly handedOver: number;
  readonly dropped: Readonly<Record<string, number>>;
  /** Points that are held or on their way. */
  readonly inFlight: number;
  /** Series that live now. */
  readonly series: number;
  /** How often a series was asked for beyond the cap; its points are in overflow series, not dropped. */
  readonly overflowed: number;
  /** Series whose totals were let go for want of room; their points were counted and sent all the same. */
  readonly forgotten: number;
  /** How often the wall clock stepped, or the machine slept: windows follow the clock, and points keep their window. */
  readonly clockSteps: number;
  /** When the oldest harvested point that the stream has not confirmed was recorded, UTC milliseconds. */
  readonly oldestUnsentAt: number | undefined;
}

/** A misconfigured stream does not heal by itself within a second: it is asked this seldom. */
const MISCONFIGURED_RETRY_MS = 30 * SECOND_MS;
const SWEEP_MS = MINUTE_MS;
/** What NTP slews within a window is less. */
const CLOCK_STEP_MS = SECOND_MS;
/** A few tenths of a millisecond of work. */
const SERIES_PER_TURN = 100;
/** A process of which nothing is heard for days is taken for ended, and what it sends then for a new one's. */
const SIGN_OF_LIFE_MS = DAY_MS;

/**
 * @example
 * const collector = new Collector({ clock, stream, instance: "web-1", boot: ids() });
 * collector.start();
 * collector.record({ metricType: "custom", metricName: "orders_total", value: 1 });
 */
export class Collector implements MetricSink {
  private readonly clock: Clock;
  private readonly options: ResolvedCollectorOptions;
  private readonly registry: SeriesRegistry;
  private readonly loop: Loop;
  private readonly outage: Outage;
  private readonly unsent = new UnsentWindow();
  private readonly totals: CumulativeView;
  private readonly dropped = new Map<DropReason, number>();

  /** Series with points in the current window. */
  private begun: LiveSeries[] = [];
  private windowStart: number;
  /** Wall time less monotonic time, of the last look. */
  private clockOffset: number;
  private clockSteps = 0;
  /** A window that is over: so many of the first series in `begun` still hold its points. */
  private ended: { readonly series: number; readonly from: number; readonly to: number } | undefined;
  /** Batches with an id: they stay as they are until the stream has them. */
  private frozen: Batch[] = [];
  private seq = 0;
  private frozenPoints = 0;
  private announcedDrops = 0;
  /** Monotonic, of the last batch that got its id. */
  private frozenAt: number;
  private sentPoints = 0;
  private handedOverPoints = 0;
  private failedSends = 0;
  private notBefore = Number.NEGATIVE_INFINITY;
  private sweptAt: number;
  private flushing: Promise<void> | undefined;
  private closed = false;
  private hasSaidTheLast = false;

  /** @throws ParamedicError CONFIGURATION_INVALID for an option outside its range, or a boot id with a colon */
  constructor(
    private readonly deps: CollectorDeps,
    options: CollectorOptions = {},
  ) {
    this.clock = deps.clock;
    this.options = resolveCollectorOptions(options);
    if (deps.boot === "" || deps.boot.includes(":") || deps.instance === "") {
      throw new ParamedicError(
        "CONFIGURATION_INVALID",
        `a collector needs an instance and a boot id without ":", got "${deps.instance}" and "${deps.boot}"`,
      );
    }
    const owner: SeriesOwner = {
      begin: (series) => this.begin(series),
      refuse: (reason) => this.drop(reason),
    };
    this.registry = new SeriesRegistry(owner, this.clock, this.options);
    // A full registry has overflow series besides: with room for less, the totals of each window would push one another out.
    this.totals = new CumulativeView({ maxSeries: 2 * this.options.maxSeries + SERIES_KINDS.length });
    this.outage = createOutage(deps, "metric stream");
    this.windowStart = this.aligned(this.clock.now());
    this.clockOffset = this.clock.now() - this.clock.monotonic();
    this.sweptAt = this.clock.monotonic();
    this.frozenAt = this.clock.monotonic();
    const { flushIntervalMs } = this.options;
    this.loop = createLoop({
      clock: this.clock,
      intervalMs: () => flushIntervalMs - (this.clock.now() % flushIntervalMs),
      run: () => this.flush(),
      onError: (error) => this.fault(error),
    });
  }

  /** Counts one measurement. A handle from `series` does the same and costs a fraction. Never throws. */
  record(point: MetricPoint): void {
    try {
      this.series(descriptorOf(point)).record(point.value);
    } catch {
      this.drop("invalid");
    }
  }

  /**
   * The handle of a series; keep it. The first descriptor of a series decides its kind and unit. A descriptor without a name
   * or with an unknown type or kind gets a handle that drops each point as `invalid`.
   */
  series(descriptor: SeriesDescriptor): SeriesHandle {
    try {
      const { metricType, metricName, kind } = descriptor;
      if (metricName !== "" && METRIC_TYPES.includes(metricType) && SERIES_KINDS.includes(kind)) {
        return this.registry.find(descriptor);
      }
    } catch {
      // A getter that throws, or a tag that is no text: the points are dropped and counted.
    }
    return { record: () => this.drop("invalid") };
  }

  /** Begins to send every window. Starting twice is once; a stopped collector stays stopped. */
  start(): void {
    if (!this.closed) this.loop.start();
  }

  /**
   * Sends what was recorded so far, or as much of it as the stream takes now. Never rejects: what did not arrive waits for
   * the next flush, and `accounting` says how much that is.
   */
  async flush(): Promise<void> {
    if (this.flushing) await this.flushing;
    this.flushing ??= this.flushOnce().finally(() => {
      this.flushing = undefined;
    });
    await this.flushing;
  }

  /** Accepts no more points, sends what it holds if the stream takes it, and ends. What is left is for `drain`. */
  async stop(): Promise<void> {
    this.harvest();
    this.closed = true;
    const failedBefore = this.failedSends;
    await this.loop.stop();
    if (this.failedSends > failedBefore) return;
    this.notBefore = Number.NEGATIVE_INFINITY;
    await this.flush();
  }

  /**
   * Hands out every batch that the stream has not confirmed, so that they can be folded without it. A frozen batch keeps its
   * id: if it had arrived after all, it still counts once.
   */
  drain(): readonly Batch[] {
    this.harvest();
    this.freeze();
    const batches = this.frozen;
    this.frozen = [];
    this.handedOverPoints += batches.reduce((sum, batch) => sum + pointsIn(batch), 0);
    return batches;
  }

  accounting(): CollectorAccounting {
    const inFlight =
      this.begun.reduce((sum, series) => sum + series.count, 0) +
      this.unsent.points +
      this.frozen.reduce((sum, batch) => sum + pointsIn(batch), 0);
    return {
      recorded: this.sentPoints + this.handedOverPoints + inFlight + this.droppedPoints(),
      sent: this.sentPoints,
      handedOver: this.handedOverPoints,
      dropped: Object.fromEntries(this.dropped),
      inFlight,
      series: this.registry.size,
      overflowed: this.registry.refused,
      forgotten: this.totals.forgotten,
      clockSteps: this.clockSteps,
      oldestUnsentAt: this.frozen[0]?.windowStart ?? this.unsent.since,
    };
  }

  /** Every series since this process began, up to this moment: what a scraper reads. */
  cumulative(): readonly CumulativeSeries[] {
    this.harvest();
    return this.totals.series();
  }

  private readonly addToTotals = (key: string, descriptor: SeriesDescriptor, summary: SeriesSummary): void => {
    this.totals.add(key, descriptor, summary);
  };

  private begin(series: LiveSeries): boolean {
    if (this.closed) {
      this.drop("closed");
      return false;
    }
    this.registry.readopt(series);
    this.begun.push(series);
    return true;
  }

  private drop(reason: DropReason): void {
    this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + 1);
  }

  private droppedPoints(): number {
    let total = 0;
    for (const count of this.dropped.values()) total += count;
    return total;
  }

  private async flushOnce(): Promise<void> {
    await this.harvestInTurns();
    this.forgetIdle();
    if (this.deps.stream === undefined || this.clock.monotonic() < this.notBefore) return;
    // An older batch first: only once it has arrived is the next window given an id.
    if (!(await this.sendFrozen(this.deps.stream))) return;
    this.freeze();
    if (this.frozen.length > 1) await nextTurn();
    await this.sendFrozen(this.deps.stream);
  }

  /** Ends the current window and puts its points with those that wait. */
  private harvest(): void {
    this.harvestEnded(Number.POSITIVE_INFINITY);
    this.endWindow();
    this.harvestEnded(Number.POSITIVE_INFINITY);
  }

  /** The same, a few series in each turn of the event loop: a call may wait for that, and not for thousands. */
  private async harvestInTurns(): Promise<void> {
    if (this.ended === undefined) this.endWindow();
    while (this.ended !== undefined) {
      const isMore = this.ended.series > SERIES_PER_TURN;
      this.harvestEnded(SERIES_PER_TURN);
      if (isMore) await nextTurn();
    }
  }

  private endWindow(): void {
    const now = this.clock.now();
    const offset = now - this.clock.monotonic();
    if (Math.abs(offset - this.clockOffset) > CLOCK_STEP_MS) this.clockSteps += 1;
    this.clockOffset = offset;
    const boundary = this.aligned(now);
    if (now < this.windowStart) this.windowStart = boundary;
    const to = boundary > this.windowStart ? boundary : now;
    if (this.begun.length > 0) this.ended = { series: this.begun.length, from: this.windowStart, to };
    this.windowStart = to;
  }

  private harvestEnded(most: number): void {
    if (this.ended === undefined) return;
    const { series, from, to } = this.ended;
    // Whoever has points again since begins a new window, behind those that are left.
    const harvest = this.begun.splice(0, Math.min(series, most));
    this.ended = harvest.length < series ? { series: series - harvest.length, from, to } : undefined;
    const active = this.clock.monotonic();
    for (const one of harvest) one.lastActiveAt = active;
    this.unsent.add(harvest, from, to, this.addToTotals);
  }

  /**
   * Gives the unsent window its ids. A batch without series goes out to tell of drops only, that this process lives, or how
   * much it has recorded at its end: by that a loss of its last batches is known when nobody can ask it any more.
   */
  private freeze(): void {
    const drops = this.droppedPoints();
    const now = this.clock.monotonic();
    const isSilent = this.unsent.points === 0 && drops === this.announcedDrops;
    const isSignDue = this.closed ? !this.hasSaidTheLast : now - this.frozenAt >= SIGN_OF_LIFE_MS;
    if (isSilent && (this.seq === 0 || !isSignDue)) return;
    this.frozenAt = now;
    this.hasSaidTheLast = this.closed;
    const { from, to, parts } =
      this.unsent.points > 0
        ? this.unsent.take(this.options.batchSize)
        : { from: this.windowStart, to: this.windowStart, parts: [[]] };
    this.announcedDrops = drops;
    const droppedTotal = Object.freeze(Object.fromEntries(this.dropped));
    for (const series of parts) {
      this.seq += 1;
      this.frozenPoints += pointsIn({ series });
      this.frozen.push(
        Object.freeze({
          version: 1,
          instance: this.deps.instance,
          boot: this.deps.boot,
          seq: this.seq,
          windowStart: from,
          windowEnd: to,
          recordedTotal: this.frozenPoints + drops,
          droppedTotal,
          series,
        }),
      );
    }
  }

  /**
   * One batch as a scout, then the rest together: a stream that is away costs one attempt. Each in a turn of its own, because
   * making an entry of a batch takes as long as some calls. `true` when all arrived.
   */
  private async sendFrozen(stream: MetricStream): Promise<boolean> {
    const [scout, ...rest] = this.frozen;
    if (scout === undefined) return true;
    if (!(await this.send(stream, scout))) return false;
    const sent: Promise<boolean>[] = [];
    for (const batch of rest) {
      await nextTurn();
      // Whoever drains meanwhile has them.
      if (this.frozen.includes(batch)) sent.push(this.send(stream, batch));
    }
    return (await Promise.all(sent)).every(Boolean);
  }

  private async send(stream: MetricStream, batch: Batch): Promise<boolean> {
    try {
      await settlesWithin(this.clock, this.options.appendTimeoutMs, stream.append(batch));
    } catch (error) {
      this.failedSends += 1;
      if (isParamedicError(error, "STREAM_MISCONFIGURED")) {
        this.notBefore = this.clock.monotonic() + MISCONFIGURED_RETRY_MS;
      }
      this.outage.failed(error);
      this.fault(error);
      return false;
    }
    this.outage.succeeded();
    // `drain` may have handed the batch over meanwhile; then it counts there.
    if (this.frozen.includes(batch)) {
      this.frozen = this.frozen.filter((other) => other !== batch);
      this.sentPoints += pointsIn(batch);
    }
    return true;
  }

  private forgetIdle(): void {
    const now = this.clock.monotonic();
    if (now - this.sweptAt < Math.min(SWEEP_MS, this.options.seriesIdleMs)) return;
    // In a long outage whoever is forgotten is held all the same, and would make room for one more.
    if (this.unsent.size >= this.options.maxSeries) return;
    this.sweptAt = now;
    this.registry.forgetIdle(now - this.options.seriesIdleMs);
  }

  private aligned(now: number): number {
    return now - (now % this.options.flushIntervalMs);
  }

  private fault(error: unknown): void {
    this.deps.onFault?.(error);
  }
}
