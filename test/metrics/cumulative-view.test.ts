import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Collector } from "../../server/metrics/collector.js";
import { CumulativeView } from "../../server/metrics/cumulative-view.js";
import { addToBounds, DURATION_BOUNDS_S } from "../../shared/explicit-bounds.js";
import { HistogramRecorder } from "../../shared/histogram.js";
import type { SeriesDescriptor } from "../../shared/series.js";
import { createFakeClock } from "../support/fake-clock.js";

const counter: SeriesDescriptor = {
  metricType: "custom",
  metricName: "orders_total",
  kind: "counter",
  unit: "1",
  source: "orders_total",
  tags: {},
};
const summary = (sum: number) => ({ count: 1, sum, min: sum, max: sum, last: sum, buckets: [] });

describe("a collector's totals", () => {
  const clock = createFakeClock();
  const collector = new Collector({ clock, stream: undefined, instance: "i", boot: "b" }, { seriesIdleMs: 1_000 });

  it("hold every point up to now, over windows, idleness and handing over, and change no accounts", async () => {
    collector.series(counter).record(2);
    expect(collector.cumulative()).toMatchObject([{ count: 1, sum: 2 }]);
    await collector.flush();
    await clock.advance(120_000);
    await collector.flush();
    expect(collector.accounting().series).toBe(0);
    collector.drain();
    collector.series(counter).record(3);
    collector.record({ metricType: "custom", metricName: "latency", unit: "ms", value: 7 });
    expect(collector.cumulative()).toMatchObject([
      { descriptor: { metricName: "orders_total" }, count: 2, sum: 5, last: 3 },
      { descriptor: { metricName: "latency" }, count: 1, sum: 7, distribution: { bounds: expect.any(Array) } },
    ]);
    const { recorded, handedOver, inFlight, oldestUnsentAt } = collector.accounting();
    expect({ recorded, handedOver, inFlight }).toEqual({ recorded: 3, handedOver: 1, inFlight: 2 });
    expect(oldestUnsentAt).toBeLessThanOrEqual(clock.now());
  });
});

describe("a collector that has as many series as it may", () => {
  it("lets no total go for want of room for its overflow series", () => {
    const limits = { maxSeries: 40, maxSeriesPerMetric: 10 };
    const collector = new Collector({ clock: createFakeClock(), stream: undefined, instance: "i", boot: "b" }, limits);
    const totals = () => collector.cumulative().reduce((total, { sum }) => total + sum, 0);
    for (let window = 1; window <= 3; window += 1) {
      for (let at = 0; at < 100; at += 1) {
        collector.series({ ...counter, metricName: `m${at % 5}_total`, tags: { at: String(at) } }).record(1);
      }
      expect(totals()).toBe(window * 100);
    }
    expect(collector.accounting()).toMatchObject({ forgotten: 0, series: 45 });
  });
});

describe("CumulativeView", () => {
  it("lets the quietest series go when there is no room, and says so", () => {
    const view = new CumulativeView({ maxSeries: 2 });
    const add = (name: string) => view.add(name, { ...counter, metricName: name }, summary(1));
    for (const name of ["a", "b", "a", "c"]) add(name);
    expect(view.series().map(({ descriptor, sum }) => [descriptor.metricName, sum])).toEqual([
      ["a", 2],
      ["c", 1],
    ]);
    expect(view.forgotten).toBe(1);
  });
});

describe("explicit bounds", () => {
  it("count what is at or below a bound there, and nothing that exceeds it by 2.2 %", () => {
    const values = fc.array(
      fc.oneof(fc.double({ min: 0, max: 20, noNaN: true }), fc.constantFrom(...DURATION_BOUNDS_S)),
      { size: "max", maxLength: 200 },
    );
    fc.assert(
      fc.property(values, (seen) => {
        const recorder = new HistogramRecorder();
        for (const value of seen) recorder.record(value);
        const counts = new Float64Array(DURATION_BOUNDS_S.length + 1);
        addToBounds({ bounds: DURATION_BOUNDS_S, counts }, recorder.take());
        let total = 0;
        for (const [at, bound] of DURATION_BOUNDS_S.entries()) {
          total += counts[at] ?? 0;
          expect(total).toBeGreaterThanOrEqual(seen.filter((value) => value <= bound).length);
          expect(total).toBeLessThanOrEqual(seen.filter((value) => value <= bound * 1.022).length);
        }
        expect(total + (counts.at(-1) ?? 0)).toBe(seen.length);
      }),
    );
  });
});
