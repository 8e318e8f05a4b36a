/** How long a commit of 1,000 series holds the event loop of the app: entry after entry, as the aggregator hands them over. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSqliteStore } from "../../server/adapters/sqlite/sqlite-store.js";
import { systemClock } from "../../server/ports/clock.js";
import { encodeBatch } from "../../shared/batch-codec.js";
import type { Batch } from "../../shared/series.js";
import { atMost, quantile, type Scenario } from "../harness.js";
import { longestTurn } from "../longest-turn.js";

const SERIES = 1_000;
const SERIES_PER_BATCH = 100;
const COMMITS = 200;

export const commit: Scenario = {
  name: "commit",
  async run() {
    const folder = await mkdtemp(join(tmpdir(), "paramedic-bench-"));
    const store = createSqliteStore({ clock: systemClock }, { path: join(folder, "bench.db") });
    try {
      await store.open();
      const blocks: number[] = [];
      const idle: number[] = [];
      for (let round = 0; round < COMMITS; round += 1) {
        const entries = batchesOf(round).map(encodeBatch);
        const commitAll = async () => {
          for (const fields of entries) await store.commitEntry(fields);
        };
        blocks.push(await longestTurn(commitAll));
        idle.push(await longestTurn(() => new Promise((resolve) => setTimeout(resolve, 5))));
      }
      const show = (values: readonly number[], q: number) => `${quantile(values, q).toFixed(2)} ms`;
      return {
        groups: [],
        budgets: [
          atMost("event-loop block of a commit of 1,000 series, p99", quantile(blocks, 0.99) * 1_000, 1_000, "µs"),
        ],
        notes: [
          `Longest turn of the event loop during a commit of ${SERIES} series: p50 ${show(blocks, 0.5)}, ` +
            `p99 ${show(blocks, 0.99)}; of a timer alone, which is what the machine does: p50 ${show(idle, 0.5)}, ` +
            `p99 ${show(idle, 0.99)}; ${COMMITS} commits.`,
        ],
      };
    } finally {
      await store.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

function batchesOf(round: number): Batch[] {
  return Array.from({ length: SERIES / SERIES_PER_BATCH }, (_, part) => {
    const seq = round * (SERIES / SERIES_PER_BATCH) + part + 1;
    const windowStart = Date.UTC(2026, 0, 1) + round * 1_000;
    return {
      version: 1,
      instance: "bench",
      boot: "bench",
      seq,
      windowStart,
      windowEnd: windowStart + 1_000,
      recordedTotal: seq * SERIES_PER_BATCH * 20,
      droppedTotal: {},
      series: Array.from({ length: SERIES_PER_BATCH }, (__, at) => summaryOf(part * SERIES_PER_BATCH + at)),
    };
  });
}

function summaryOf(at: number): Batch["series"][number] {
  return {
    metricType: "operation",
    metricName: `trpc.procedure${at}.duration`,
    kind: "histogram",
    unit: "ms",
    source: `trpc.procedure${at}`,
    tags: { status: "success" },
    count: 20,
    sum: 200,
    min: 1,
    max: 20,
    last: 10,
    buckets: Array.from({ length: 20 }, (_, bucket) => [bucket * 4, 1]),
  };
}
