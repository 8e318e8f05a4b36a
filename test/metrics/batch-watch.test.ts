import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBatchWatch } from "../../server/metrics/batch-watch.js";
import { Collector } from "../../server/metrics/collector.js";
import { outlineOf } from "../../shared/batch-outline.js";
import type { Batch } from "../../shared/series.js";
import { batchOf } from "../support/batches.js";
import { createFakeClock } from "../support/fake-clock.js";

function seen(...batches: readonly Batch[]): readonly string[] {
  const told: string[] = [];
  const watch = createBatchWatch({ onFault: (error) => told.push(error instanceof Error ? error.message : "") });
  for (const batch of batches) watch.see(outlineOf(batch));
  return told;
}

const dropping = (seq: number, negative: number, recordedTotal: number): Batch => ({
  ...batchOf(seq, { recordedTotal }),
  droppedTotal: { negative },
});

describe("a batch that cannot be", () => {
  it.each<[string, readonly Batch[]]>([
    ["I1", [batchOf(1, { values: [1, 2], recordedTotal: 1 })]],
    ["I1", [batchOf(1, { recordedTotal: 5 }), batchOf(2, { recordedTotal: 5 })]],
    ["I1", [batchOf(2, { recordedTotal: 5 }), batchOf(1, { recordedTotal: 9 })]],
    ["I2", [batchOf(1, { values: [1] }), batchOf(1, { values: [1, 2], recordedTotal: 2 })]],
    ["I3", [dropping(1, 3, 10), dropping(2, 2, 20)]],
    ["I4", [withSeries({ sum: 100 })]],
    ["I4", [withSeries({ sum: -1 })]],
    ["I4", [withSeries({ last: 9 })]],
  ])("%s is told once, by its id", (id, batches) => {
    expect(seen(...batches)).toEqual([expect.stringMatching(`^${id} does not hold: test:boot:`)]);
  });

  it("is not seen among what collectors send, in whatever order it comes, twice too", async () => {
    const values = fc.oneof(fc.double({ noDefaultInfinity: true }), fc.constantFrom(-1, Number.MAX_VALUE, 5e-324));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(values, { maxLength: 20 }), { maxLength: 8, size: "max" }),
        fc.infiniteStream(fc.nat()),
        async (windows, chance) => {
          const collector = new Collector(
            { clock: createFakeClock(), stream: undefined, instance: "i", boot: "b" },
            { batchSize: 1 },
          );
          const sent = windows.flatMap((window) => {
            for (const value of window) {
              collector.record({ metricType: "custom", metricName: "duration", unit: "ms", value });
              collector.record({ metricType: "custom", metricName: "depth", value });
            }
            return collector.drain();
          });
          const shuffled = [...sent, ...sent]
            .map((batch) => ({ batch, place: chance.next().value ?? 0 }))
            .sort((a, b) => a.place - b.place)
            .map(({ batch }) => batch);
          expect(seen(...shuffled)).toEqual([]);
        },
      ),
    );
  });

  it("costs the memory of a thousand boots at most, and is judged anew after that", () => {
    const others = Array.from({ length: 1_000 }, (_, at) => batchOf(1, { boot: `other${at}` }));
    expect(seen(batchOf(1, { recordedTotal: 9 }), ...others, batchOf(2, { recordedTotal: 2 }))).toEqual([]);
  });
});

function withSeries(changes: Partial<Batch["series"][number]>): Batch {
  const batch = batchOf(1, { values: [3, 4] });
  return { ...batch, series: batch.series.map((series) => ({ ...series, ...changes })) };
}
