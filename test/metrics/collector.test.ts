import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Collector, type CollectorOptions } from "../../server/metrics/collector.js";
import type { Logger } from "../../server/ports/logger.js";
import type { MetricStream } from "../../server/ports/metric-stream.js";
import { ParamedicError } from "../../shared/errors.js";
import type { JsonObject } from "../../shared/failure.js";
import { quantile } from "../../shared/histogram.js";
import { type Batch, batchId, pointsIn, type SeriesDescriptor } from "../../shared/series.js";
import { DAY_MS, HOUR_MS } from "../../shared/units.js";
import { createFakeClock, type FakeClock, settle } from "../support/fake-clock.js";
import { runs } from "../support/property-runs.js";

/** A stream that takes, refuses or swallows what it gets, as told. */
function fakeStream() {
  const attempts: Batch[] = [];
  const arrived: Batch[] = [];
  let answer: "take" | "refuse" | "take_and_refuse" | "swallow" = "take";
  let refusal: Error = new ParamedicError("STREAM_UNAVAILABLE", "away");
  const stream: MetricStream = {
    async append(batch) {
      attempts.push(batch);
      if (answer === "swallow") return new Promise(() => undefined);
      if (answer !== "refuse") arrived.push(batch);
      if (answer !== "take") throw refusal;
    },
    read: async () => [],
    acknowledge: async () => undefined,
    backlog: async () => 0,
    trim: async () => undefined,
    close: async () => undefined,
  };
  return {
    stream,
    attempts,
    arrived,
    set answer(next: typeof answer) {
      answer = next;
    },
    set refusal(next: Error) {
      refusal = next;
    },
  };
}

function setUp(options: CollectorOptions = {}, withStream = true) {
  const clock = createFakeClock();
  const transport = fakeStream();
  const faults: unknown[] = [];
  const lines: { level: string; message: string; fields: JsonObject }[] = [];
  const line = (level: string) => (fields: JsonObject, message: string) => void lines.push({ level, message, fields });
  const logger: Logger = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
  const collector = new Collector(
    {
      clock,
      stream: withStream ? transport.stream : undefined,
      instance: "web-1",
      boot: "b1",
      logger,
      onFault: (error) => faults.push(error),
    },
    options,
  );
  return { clock, transport, faults, lines, collector };
}

const latency: SeriesDescriptor = {
  metricType: "operation",
  metricName: "trpc.ask.duration",
  kind: "histogram",
  unit: "ms",
  source: "trpc.ask",
  tags: { status: "success" },
};
const gauge: SeriesDescriptor = { ...latency, metricName: "memory", kind: "gauge", unit: "percent", tags: {} };

function closes({ collector }: { collector: Collector }): void {
  const { recorded, sent, handedOver, dropped, inFlight } = collector.accounting();
  expect(sent + handedOver + inFlight + Object.values(dropped).reduce((a, b) => a + b, 0)).toBe(recorded);
}

describe("a window", () => {
  it("folds points of one series into one summary", async () => {
    const { collector, transport } = setUp();
    for (const value of [5, 1, 3]) collector.series(latency).record(value);
    await collector.flush();
    const [batch] = transport.arrived;
    expect(batch).toMatchObject({
      version: 1,
      instance: "web-1",
      boot: "b1",
      seq: 1,
      recordedTotal: 3,
      droppedTotal: {},
    });
    expect(batch?.series).toHaveLength(1);
    expect(batch?.series[0]).toMatchObject({ ...latency, count: 3, sum: 9, min: 1, max: 5, last: 3 });
    expect(quantile(batch?.series[0]?.buckets ?? [], 0.5, { min: 1, max: 5 })).toBeCloseTo(3, 1);
  });

  it("is aligned to the wall clock and follows the one before without a gap", async () => {
    const { clock, collector, transport } = setUp({ flushIntervalMs: 1_000 });
    await clock.advance(400);
    collector.start();
    const handle = collector.series(latency);
    for (let second = 0; second < 3; second += 1) {
      handle.record(1);
      await clock.advance(1_000);
    }
    const windows = transport.arrived.map(({ windowStart, windowEnd }) => [windowStart % 60_000, windowEnd % 60_000]);
    expect(windows).toEqual([
      [0, 1_000],
      [1_000, 2_000],
      [2_000, 3_000],
    ]);
  });

  it("ends after it began, and its numbers go on, when the wall clock is set back", async () => {
    const { clock, collector, transport } = setUp();
    collector.series(latency).record(1);
    await collector.flush();
    clock.stepWall(-3_600_000);
    collector.series(latency).record(1);
    await collector.flush();
    expect(transport.arrived.map(({ seq }) => seq)).toEqual([1, 2]);
    for (const { windowStart, windowEnd } of transport.arrived) expect(windowStart).toBeLessThanOrEqual(windowEnd);
    expect(transport.arrived[1]?.windowEnd).toBe(clock.now());
  });

  it.each([
    ["set forward", 2 * HOUR_MS],
    ["set back", -2 * HOUR_MS],
    ["ahead after the machine slept through a night", 9 * HOUR_MS],
  ])("is the one that ends next when the wall clock is %s, which is counted once", async (_, stepMs) => {
    const context = setUp({ flushIntervalMs: 1_000 });
    const { clock, collector, transport } = context;
    collector.start();
    const handle = collector.series(latency);
    handle.record(1);
    await clock.advance(1_500);
    handle.record(1);
    clock.stepWall(stepMs);
    for (let second = 0; second < 5; second += 1) {
      handle.record(1);
      await clock.advance(1_000);
    }
    expect(collector.accounting()).toMatchObject({ recorded: 7, dropped: {}, clockSteps: 1 });
    const ends = transport.arrived.map(({ windowEnd }) => windowEnd);
    expect(ends).toEqual([...ends].sort((a, b) => (stepMs < 0 ? 0 : a - b)));
    expect(transport.arrived.slice(1).every(({ windowEnd }) => Math.abs(windowEnd - clock.now()) < 10_000)).toBe(true);
    closes(context);
  });

  it("sends nothing when nothing was recorded", async () => {
    const { clock, collector, transport } = setUp();
    collector.start();
    await clock.advance(5_000);
    expect(transport.attempts).toEqual([]);
  });

  it("goes out in as many batches as the batch size asks for", async () => {
    const { collector, transport } = setUp({ batchSize: 100 });
    for (let at = 0; at < 250; at += 1) collector.series({ ...latency, tags: { at: String(at) } }).record(1);
    await collector.flush();
    expect(transport.arrived.map(({ series }) => series.length)).toEqual([100, 100, 50]);
    expect(transport.arrived.map(({ seq, recordedTotal }) => [seq, recordedTotal])).toEqual([
      [1, 100],
      [2, 200],
      [3, 250],
    ]);
  });
});

describe("what is recorded", () => {
  it("reaches one series whatever the order of the tags, by point or by handle", async () => {
    const { collector, transport } = setUp();
    collector.record({ metricType: "custom", metricName: "orders_total", value: 1, tags: { a: "1", b: "2" } });
    collector.record({ metricType: "custom", metricName: "orders_total", value: 1, tags: { b: "2", a: "1" } });
    await collector.flush();
    expect(transport.arrived[0]?.series).toMatchObject([
      { kind: "counter", unit: "1", source: "orders_total", count: 2 },
    ]);
  });

  it.each([
    [{ metricName: "x", unit: "ms" }, "histogram"],
    [{ metricName: "x", unit: "s" }, "histogram"],
    [{ metricName: "x_count" }, "counter"],
    [{ metricName: "x_total", unit: "bytes" }, "counter"],
    [{ metricName: "x", unit: "bytes" }, "gauge"],
    [{ metricName: "x_total", kind: "gauge" }, "gauge"],
  ] as const)("has the kind its name and unit tell: %o", async (point, kind) => {
    const { collector, transport } = setUp();
    collector.record({ metricType: "custom", value: 1, ...point });
    await collector.flush();
    expect(transport.arrived[0]?.series[0]?.kind).toBe(kind);
  });

  it("is the same handle for the same series", () => {
    const { collector } = setUp();
    expect(collector.series(latency)).toBe(collector.series({ ...latency, tags: { ...latency.tags } }));
    expect(collector.series(latency)).not.toBe(collector.series({ ...latency, tags: { status: "timeout" } }));
  });

  it.each([
    ["histogram", latency],
    ["gauge", gauge],
    ["counter", { ...gauge, metricName: "orders_total", kind: "counter" as const }],
  ])("costs no memory on the handle of a %s", async (_, descriptor) => {
    const { collector } = setUp();
    const handle = collector.series(descriptor);
    const points = 5_000;
    // Beside a text an array keeps its floats as objects, so that handing one over costs nothing either.
    const mixed: readonly unknown[] = ["", ...Array.from({ length: points }, (_, at) => 1.5 + (at % 1_000))];
    const growthOf = (point: (value: number) => void) => {
      const rounds = Array.from({ length: 300 }, () => {
        const before = process.memoryUsage().heapUsed;
        for (let at = 1; at <= points; at += 1) point(mixed[at] as number);
        return process.memoryUsage().heapUsed - before;
      });
      // The first rounds are not compiled yet, and a few see the garbage collected.
      return rounds.slice(-99).sort((a, b) => a - b)[49] ?? Number.NaN;
    };
    // The smallest object there is would be 16 bytes. What is not compiled makes some too, for as long as the compiler waits for
    // a processor.
    await expect
      .poll(() => growthOf((value) => handle.record(value)) - growthOf(() => undefined), { timeout: 20_000 })
      .toBeLessThan(4 * points);
  });

  it("keeps distributions and plain numbers of one name apart", async () => {
    const { clock, collector, transport } = setUp({ seriesIdleMs: 1 });
    const first = collector.series(latency);
    await clock.advance(10);
    await collector.flush();
    const second = collector.series({ ...latency, kind: "gauge" });
    expect(second).not.toBe(first);
    first.record(1);
    second.record(2);
    await collector.flush();
    expect(transport.arrived[0]?.series.map(({ kind, count }) => [kind, count])).toEqual([
      ["histogram", 1],
      ["gauge", 1],
    ]);
  });

  it("I3: is refused and counted once when it is no measurement", async () => {
    const context = setUp();
    const { collector, transport } = context;
    const histogram = collector.series(latency);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) histogram.record(value);
    histogram.record(-1);
    collector.series(gauge).record(-1);
    const untyped: unknown[] = ["5", 5n, undefined, null, {}];
    for (const value of untyped) histogram.record(value as number);
    expect(collector.accounting()).toMatchObject({
      recorded: 10,
      dropped: { not_finite: 8, negative: 1 },
      inFlight: 1,
    });
    closes(context);
    await collector.flush();
    expect(transport.arrived).toMatchObject([{ recordedTotal: 10, droppedTotal: { not_finite: 8, negative: 1 } }]);
    expect(transport.arrived[0]?.series).toMatchObject([{ metricName: "memory", min: -1 }]);
  });

  it.each<[string, unknown]>([
    ["no name", { metricType: "custom", metricName: "", value: 1 }],
    ["a name that is no text", { metricType: "custom", metricName: 5, value: 1 }],
    ["an unknown type", { metricType: "gossip", metricName: "x", value: 1 }],
    ["an unknown kind", { metricType: "custom", metricName: "x", kind: "summary", value: 1 }],
    ["a tag that cannot be text", { metricType: "custom", metricName: "x", tags: { a: Symbol("x") }, value: 1 }],
    ["tags that are none", { metricType: "custom", metricName: "x", tags: null, unit: null, source: 5n, value: 1 }],
    ["nothing", undefined],
    [
      "a getter that throws",
      {
        get metricName() {
          throw new Error("no");
        },
      },
    ],
  ])("never throws at whoever records: %s", (_, point) => {
    const context = setUp();
    context.collector.record(point as Parameters<Collector["record"]>[0]);
    expect(context.collector.accounting().recorded).toBe(1);
    closes(context);
  });

  it("is not needed to be known alive: each day without any, an empty batch says so", async () => {
    const { clock, collector, transport } = setUp({ flushIntervalMs: 1_000 });
    collector.start();
    await clock.advance(2 * DAY_MS);
    expect(transport.arrived).toEqual([]);
    collector.series(latency).record(1);
    for (let hour = 0; hour < 49; hour += 1) await clock.advance(HOUR_MS);
    await collector.stop();
    expect(transport.arrived).toMatchObject([
      { seq: 1, series: [{ count: 1 }], recordedTotal: 1 },
      { seq: 2, series: [], recordedTotal: 1 },
      { seq: 3, series: [], recordedTotal: 1 },
      // Its last word.
      { seq: 4, series: [], recordedTotal: 1 },
    ]);
  });

  it("is told to the store even when every point was dropped", async () => {
    const { collector, transport } = setUp();
    collector.series(latency).record(Number.NaN);
    await collector.flush();
    await collector.flush();
    expect(transport.arrived).toMatchObject([
      { seq: 1, series: [], recordedTotal: 1, droppedTotal: { not_finite: 1 } },
    ]);
  });

  it("carries bounded names and tags, without what no database holds", async () => {
    const { collector, transport } = setUp();
    const tags = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`tag${at}`, "x".repeat(10_000)]));
    collector.series({ ...latency, metricName: `a\u0000b\ud800c\n${"n".repeat(5_000)}`, tags }).record(1);
    await collector.flush();
    const [series] = transport.arrived[0]?.series ?? [];
    expect(series?.metricName).toMatch(/^a\uFFFDb\uFFFDc\uFFFDn+$/);
    expect(series?.metricName.length).toBe(256);
    expect(Object.values(series?.tags ?? {}).map(({ length }) => length)).toEqual(Array(16).fill(256));
  });

  it("stays finite where a sum outgrows a float", async () => {
    const { collector, transport } = setUp();
    for (let at = 0; at < 3; at += 1) collector.series(latency).record(Number.MAX_VALUE);
    await collector.flush();
    expect(transport.arrived[0]?.series[0]?.sum).toBe(Number.MAX_VALUE);
  });
});

describe("a batch that does not arrive", () => {
  it("is sent again as it was, under the same id, before anything newer", async () => {
    const { collector, transport } = setUp();
    transport.answer = "take_and_refuse";
    collector.series(latency).record(1);
    await collector.flush();
    collector.series(latency).record(2);
    await collector.flush();
    transport.answer = "take";
    collector.series(latency).record(3);
    await collector.flush();
    expect(transport.attempts.map(batchId)).toEqual(["web-1:b1:1", "web-1:b1:1", "web-1:b1:1", "web-1:b1:2"]);
    expect(transport.attempts[2]).toBe(transport.attempts[0]);
    expect(transport.arrived.at(-1)?.series[0]).toMatchObject({ count: 2, sum: 5 });
    expect(collector.accounting()).toMatchObject({ recorded: 3, sent: 3, inFlight: 0 });
  });

  it("is given up after a time, and sent again", async () => {
    const { clock, collector, transport } = setUp({ appendTimeoutMs: 2_000 });
    transport.answer = "swallow";
    collector.series(latency).record(1);
    const flushed = collector.flush();
    await clock.advance(2_000);
    await flushed;
    transport.answer = "take";
    await collector.flush();
    expect(transport.attempts.map(batchId)).toEqual(["web-1:b1:1", "web-1:b1:1"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("costs one attempt, however many batches wait", async () => {
    const { collector, transport } = setUp({ batchSize: 1 });
    transport.answer = "refuse";
    for (let at = 0; at < 50; at += 1) collector.series({ ...latency, tags: { at: String(at) } }).record(1);
    await collector.flush();
    await collector.flush();
    expect(transport.attempts).toHaveLength(2);
    transport.answer = "take";
    await collector.flush();
    expect(transport.arrived).toHaveLength(50);
  });

  it("is asked about seldom when somebody has to act first", async () => {
    const { clock, collector, transport } = setUp();
    transport.answer = "refuse";
    transport.refusal = new ParamedicError("STREAM_MISCONFIGURED", "wrong type");
    collector.start();
    for (let second = 0; second < 120; second += 1) {
      collector.series(latency).record(1);
      await clock.advance(1_000);
    }
    expect(transport.attempts.length).toBeGreaterThanOrEqual(4);
    expect(transport.attempts.length).toBeLessThanOrEqual(5);
  });

  it("is told once, and its recovery once", async () => {
    const { clock, collector, transport, lines, faults } = setUp();
    transport.answer = "refuse";
    collector.start();
    collector.series(latency).record(1);
    await clock.advance(60_000);
    transport.answer = "take";
    await clock.advance(1_000);
    expect(lines.map(({ level, message }) => [level, message])).toEqual([
      ["warn", "metric stream unavailable"],
      ["info", "metric stream available again"],
    ]);
    expect(lines[0]?.fields).toMatchObject({ code: "STREAM_UNAVAILABLE", reason: "away" });
    expect(faults).toHaveLength(60);
  });

  it("does no harm when the logger throws", async () => {
    const clock = createFakeClock();
    const transport = fakeStream();
    transport.answer = "refuse";
    const broken = () => {
      throw new Error("disk full");
    };
    const logger: Logger = { debug: broken, info: broken, warn: broken, error: broken };
    const collector = new Collector({ clock, stream: transport.stream, instance: "i", boot: "b", logger });
    collector.series(latency).record(1);
    await collector.flush();
    transport.answer = "take";
    await collector.flush();
    expect(collector.accounting()).toMatchObject({ sent: 1 });
  });
});

describe("while the stream is away for ten minutes", () => {
  it("I10: memory follows the number of series, and no point is lost", async () => {
    const context = setUp({ batchSize: 10 });
    const { clock, collector, transport } = context;
    transport.answer = "refuse";
    collector.start();
    const handles = Array.from({ length: 25 }, (_, at) => collector.series({ ...latency, tags: { at: String(at) } }));
    for (let second = 0; second < 600; second += 1) {
      for (const handle of handles) for (let point = 0; point < 4; point += 1) handle.record(second);
      await clock.advance(1_000);
    }
    closes(context);
    expect(collector.accounting()).toMatchObject({ recorded: 60_000, sent: 0, inFlight: 60_000 });
    expect(new Set(transport.attempts.map(batchId))).toEqual(new Set(["web-1:b1:1"]));
    transport.answer = "take";
    await clock.advance(1_000);
    await collector.flush();
    // The first window's three batches, frozen since, and three more with all the rest.
    expect(transport.arrived).toHaveLength(6);
    expect(transport.arrived.reduce((sum, batch) => sum + pointsIn(batch), 0)).toBe(60_000);
    const [first, last] = [transport.arrived[3], transport.arrived[5]];
    expect((last?.windowEnd ?? 0) - (first?.windowStart ?? 0)).toBeGreaterThanOrEqual(598_000);
    expect(collector.accounting()).toMatchObject({ recorded: 60_000, sent: 60_000, inFlight: 0 });
  });
});

describe("while the stream is away for a day and series come and go", () => {
  it("I10: memory stays within a few times the cap, what exceeds it is in overflow series, and no point is lost", async () => {
    const context = setUp({ maxSeries: 50, maxSeriesPerMetric: 50, seriesIdleMs: 60_000 });
    const { clock, collector, transport } = context;
    transport.answer = "refuse";
    collector.start();
    const minutes = 24 * 60;
    for (let minute = 0; minute < minutes; minute += 1) {
      for (let at = 0; at < 20; at += 1) {
        collector.series({ ...latency, tags: { customer: `${minute}-${at}` } }).record(1);
      }
      await clock.advance(60_000);
    }
    closes(context);
    transport.answer = "take";
    await clock.advance(1_000);
    const sent = transport.arrived.flatMap(({ series }) => series);
    expect(new Set(sent.map(({ tags }) => JSON.stringify(tags))).size).toBeLessThanOrEqual(3 * 50);
    expect(sent.reduce((sum, { count }) => sum + count, 0)).toBe(20 * minutes);
    expect(collector.accounting()).toMatchObject({ recorded: 20 * minutes, sent: 20 * minutes, dropped: {} });
    // With the stream back, the idle ones make room again.
    await clock.advance(180_000);
    expect(collector.accounting().series).toBeLessThanOrEqual(1);
  });
});

describe("cardinality", () => {
  it("is capped: what exceeds it goes into overflow series and is counted", async () => {
    const context = setUp({ maxSeries: 20, maxSeriesPerMetric: 10 });
    const { collector, transport } = context;
    for (let at = 0; at < 1_000; at += 1) collector.series({ ...latency, tags: { user: String(at) } }).record(1);
    for (let at = 0; at < 1_000; at += 1) {
      collector.record({ metricType: "custom", metricName: `metric${at}_total`, value: 1 });
    }
    expect(collector.accounting()).toMatchObject({ recorded: 2_000, dropped: {}, overflowed: 990 + 990, series: 22 });
    await collector.flush();
    const series = transport.arrived.flatMap((batch) => batch.series);
    expect(series.reduce((sum, { count }) => sum + count, 0)).toBe(2_000);
    const overflow = series.filter(({ tags }) => tags.overflow === "true");
    expect(overflow.map(({ metricName, kind, count }) => [metricName, kind, count])).toEqual([
      ["trpc.ask.duration", "histogram", 990],
      ["paramedic.overflow.counter", "counter", 990],
    ]);
    closes(context);
  });

  it("falls when series are idle, and a handle from before still counts", async () => {
    const { clock, collector, transport } = setUp({ seriesIdleMs: 120_000, maxSeriesPerMetric: 1 });
    collector.start();
    const handle = collector.series(latency);
    handle.record(1);
    await clock.advance(240_000);
    expect(collector.accounting().series).toBe(0);
    const other = collector.series({ ...latency, tags: { status: "timeout" } });
    other.record(1);
    expect(collector.accounting().overflowed).toBe(0);
    handle.record(5);
    await clock.advance(1_000);
    expect(transport.arrived.at(-1)?.series.map(({ tags, last }) => [tags.status, last])).toEqual([
      ["timeout", 1],
      ["success", 5],
    ]);
    expect(collector.series(latency)).toBe(handle);
  });

  it("keeps a series that is in use", async () => {
    const { clock, collector } = setUp({ seriesIdleMs: 120_000 });
    collector.start();
    const handle = collector.series(latency);
    for (let minute = 0; minute < 10; minute += 1) {
      handle.record(1);
      await clock.advance(60_000);
    }
    expect(collector.series(latency)).toBe(handle);
  });

  it("splits a batch that would grow too long for a reader", async () => {
    const { collector, transport } = setUp({ batchSize: 10_000, maxSeriesPerMetric: 10_000 });
    for (let at = 0; at < 120; at += 1) {
      const handle = collector.series({ ...latency, tags: { at: String(at) } });
      for (let bucket = -960; bucket < 1_600; bucket += 1) handle.record(2 ** (bucket / 32) * 1.01);
    }
    await collector.flush();
    expect(transport.arrived.length).toBeGreaterThan(1);
    for (const batch of transport.arrived) expect(JSON.stringify(batch).length).toBeLessThan(8 * 2 ** 20);
  });
});

describe("the end", () => {
  it("sends what is left, then drops and counts what comes after", async () => {
    const context = setUp();
    const { clock, collector, transport } = context;
    collector.start();
    const handle = collector.series(latency);
    handle.record(1);
    await collector.stop();
    expect(transport.arrived).toHaveLength(1);
    handle.record(1);
    collector.record({ metricType: "custom", metricName: "x", value: 1 });
    expect(collector.accounting()).toMatchObject({ recorded: 3, sent: 1, dropped: { closed: 2 } });
    closes(context);
    expect(clock.pendingTimers).toBe(0);
    collector.start();
    expect(clock.pendingTimers).toBe(0);
  });

  it("says once how much was recorded, so that a loss of what was sent before is known when nobody can ask it any more", async () => {
    const { clock, collector, transport } = setUp();
    collector.start();
    collector.series(latency).record(1);
    await clock.advance(5_000);
    expect(transport.arrived).toHaveLength(1);
    await collector.stop();
    await collector.flush();
    expect(collector.drain()).toEqual([]);
    expect(transport.arrived.slice(1)).toMatchObject([{ seq: 2, series: [], recordedTotal: 1 }]);
  });

  it("has nothing to say when nothing was ever recorded", async () => {
    const { collector, transport } = setUp();
    collector.start();
    await collector.stop();
    expect(transport.arrived).toEqual([]);
  });

  it("waits no longer than one batch may take when the stream gives no answer", async () => {
    const { clock, collector, transport } = setUp({ appendTimeoutMs: 2_000 });
    transport.answer = "swallow";
    collector.start();
    collector.series(latency).record(1);
    await clock.advance(1_000);
    let stopped = false;
    void collector.stop().then(() => {
      stopped = true;
    });
    await clock.advance(1_999);
    expect(stopped).toBe(false);
    await clock.advance(1);
    expect(stopped).toBe(true);
    expect(transport.attempts).toHaveLength(1);
  });

  it("hands out what never arrived, under the same ids, so that it can be folded without the stream", async () => {
    const context = setUp({ batchSize: 1 });
    const { collector, transport } = context;
    transport.answer = "take_and_refuse";
    collector.series(latency).record(1);
    await collector.flush();
    collector.series(latency).record(2);
    collector.series(gauge).record(3);
    collector.series(gauge).record(Number.NaN);
    await collector.stop();
    const batches = collector.drain();
    expect(batches.map(batchId)).toEqual(["web-1:b1:1", "web-1:b1:2", "web-1:b1:3"]);
    expect(batches[0]).toBe(transport.arrived[0]);
    expect(batches.at(-1)).toMatchObject({ recordedTotal: 4, droppedTotal: { not_finite: 1 } });
    expect(collector.accounting()).toMatchObject({ recorded: 4, handedOver: 3, inFlight: 0 });
    closes(context);
    expect(collector.drain()).toEqual([]);
  });

  it("does not count a batch as sent that was handed out while it was on its way", async () => {
    const context = setUp();
    const { clock, collector, transport } = context;
    let arrive = () => {};
    const append = transport.stream.append;
    transport.stream.append = (batch) =>
      new Promise((resolve) => {
        arrive = () => void append(batch).then(resolve);
      });
    collector.series(latency).record(1);
    const flushed = collector.flush();
    await settle();
    expect(collector.drain()).toHaveLength(1);
    arrive();
    await clock.advance(0);
    await flushed;
    expect(collector.accounting()).toMatchObject({ recorded: 1, sent: 0, handedOver: 1, inFlight: 0 });
    closes(context);
  });

  it("works without any stream: everything waits, merged, to be handed out", async () => {
    const { clock, collector } = setUp({}, false);
    collector.start();
    for (let second = 0; second < 60; second += 1) {
      collector.series(latency).record(1);
      await clock.advance(1_000);
    }
    await collector.stop();
    expect(collector.drain()).toMatchObject([{ seq: 1, series: [{ count: 60 }] }]);
  });
});

describe("flush", () => {
  it("covers what was recorded while another flush was under way", async () => {
    const { collector, transport } = setUp();
    collector.series(latency).record(1);
    const first = collector.flush();
    collector.series(latency).record(2);
    await Promise.all([first, collector.flush(), collector.flush()]);
    expect(transport.arrived.map(({ seq, recordedTotal }) => [seq, recordedTotal])).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });
});

describe("between the turns of a flush of many series", () => {
  const SERIES = 450;
  const manyHandles = (collector: Collector) =>
    Array.from({ length: SERIES }, (_, at) => collector.series({ ...latency, tags: { at: String(at) } }));

  it("others get theirs, for series that are harvested and for batches that are sent", async () => {
    const { collector, transport } = setUp({ batchSize: 100 });
    for (const handle of manyHandles(collector)) handle.record(1);
    const arrived: number[] = [];
    let isOver = false;
    const flushing = collector.flush().finally(() => {
      isOver = true;
    });
    while (!isOver) {
      await settle();
      arrived.push(transport.arrived.length);
    }
    await flushing;
    expect(arrived.filter((batches) => batches === 0).length).toBeGreaterThanOrEqual(1);
    expect(new Set(arrived)).toEqual(new Set([0, 1, 2, 3, 4, 5]));
  });

  it("I1: nothing is lost, counted twice or put into another window by whoever records, scrapes or hands out then", async () => {
    const action = fc.constantFrom("record", "scrape", "hand out", "advance", "nothing");
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 8, size: "max" }), async (actions) => {
        const context = setUp({ batchSize: 100 });
        const { collector, clock, transport } = context;
        const handles = manyHandles(collector);
        for (const handle of handles) handle.record(1);
        await clock.advance(1_000);
        let recorded = SERIES;
        const handedOut: Batch[] = [];
        const flushing = collector.flush();
        for (const next of actions) {
          await settle();
          if (next === "record") {
            for (const handle of handles) handle.record(1);
            recorded += SERIES;
          }
          if (next === "scrape")
            expect(collector.cumulative().reduce((sum, { count }) => sum + count, 0)).toBe(recorded);
          if (next === "hand out") handedOut.push(...collector.drain());
          if (next === "advance") await clock.advance(1);
          closes(context);
          expect(collector.accounting().recorded).toBe(recorded);
        }
        await flushing;
        await collector.flush();
        closes(context);
        const all = new Map([...transport.arrived, ...handedOut].map((batch) => [batchId(batch), batch]));
        expect([...all.values()].reduce((sum, batch) => sum + pointsIn(batch), 0)).toBe(recorded);
        const first = [...all.values()].find(({ seq }) => seq === 1);
        if (!actions.includes("scrape") && !actions.includes("hand out")) {
          expect(first).toMatchObject({ windowStart: Date.UTC(2026, 0, 1), windowEnd: Date.UTC(2026, 0, 1) + 1_000 });
        }
      }),
      { numRuns: runs(30) },
    );
  });
});

describe("options", () => {
  it.each([
    [{ batchSize: 0 }, "batchSize"],
    [{ batchSize: 10_001 }, "batchSize"],
    [{ flushIntervalMs: 2 ** 31 }, "flushIntervalMs"],
    [{ maxSeries: 1.5 }, "maxSeries"],
    [{ appendTimeoutMs: Number.NaN }, "appendTimeoutMs"],
  ])("outside their range are refused in one line: %o", (options, name) => {
    expect(() => setUp(options)).toThrow(name);
  });

  it("need a boot id that can stand in a batch id", () => {
    const clock = createFakeClock();
    expect(() => new Collector({ clock, stream: undefined, instance: "i", boot: "a:b" })).toThrow("boot");
    expect(() => new Collector({ clock, stream: undefined, instance: "", boot: "b" })).toThrow("instance");
  });
});

/** One thing that may happen to a collector. */
type Step =
  | { readonly step: "record"; readonly series: number; readonly value: number }
  | { readonly step: "answer"; readonly answer: "take" | "refuse" | "take_and_refuse" | "swallow" }
  | { readonly step: "advance"; readonly ms: number }
  | { readonly step: "flush" };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    step: fc.constant("record" as const),
    series: fc.nat(4),
    value: fc.oneof(fc.nat(1_000), fc.constantFrom(Number.NaN, -1)),
  }),
  fc.record({
    step: fc.constant("answer" as const),
    answer: fc.constantFrom("take" as const, "refuse" as const, "take_and_refuse" as const, "swallow" as const),
  }),
  fc.record({ step: fc.constant("advance" as const), ms: fc.nat(5_000) }),
  fc.record({ step: fc.constant("flush" as const) }),
);

/** However often what ends sets a new timer in a later turn of the event loop. */
async function endsAsTimePasses(clock: FakeClock, ending: Promise<void>): Promise<void> {
  let ended = false;
  const watched = ending.finally(() => {
    ended = true;
  });
  for (let second = 0; second < 600 && !ended; second += 1) await clock.advance(1_000);
  expect(ended).toBe(true);
  await watched;
}

describe("law 5", () => {
  it("I1 I3: closes to the unit at every moment, and distinct batches that arrived and were handed out hold every point", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
        const context = setUp({ batchSize: 2, appendTimeoutMs: 700 });
        const { clock, collector, transport } = context;
        collector.start();
        let accepted = 0;
        let recorded = 0;
        for (const one of steps) {
          switch (one.step) {
            case "record":
              collector.series({ ...latency, tags: { series: String(one.series) } }).record(one.value);
              recorded += 1;
              if (one.value >= 0) accepted += 1;
              break;
            case "answer":
              transport.answer = one.answer;
              break;
            case "advance":
              await clock.advance(one.ms);
              break;
            case "flush":
              void collector.flush();
              break;
          }
          closes(context);
          expect(collector.accounting().recorded).toBe(recorded);
        }
        await endsAsTimePasses(clock, collector.stop());
        const distinct = new Map([...transport.arrived, ...collector.drain()].map((batch) => [batchId(batch), batch]));
        expect([...distinct.values()].reduce((sum, batch) => sum + pointsIn(batch), 0)).toBe(accepted);
        const last = [...distinct.values()].sort((a, b) => a.seq - b.seq).at(-1);
        expect(last?.recordedTotal ?? 0).toBe(recorded);
        expect([...distinct.values()].map(({ seq }) => seq).sort((a, b) => a - b)).toEqual(
          Array.from({ length: distinct.size }, (_, at) => at + 1),
        );
        closes(context);
      }),
      { numRuns: runs(150) },
    );
  });
});
