import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { type ShutdownParts, shutDown } from "../../server/shutdown.js";
import type { Batch } from "../../shared/series.js";
import { createFakeClock } from "../support/fake-clock.js";

const batch: Batch = {
  version: 1,
  instance: "a",
  boot: "b",
  seq: 1,
  windowStart: 0,
  windowEnd: 1,
  recordedTotal: 0,
  droppedTotal: {},
  series: [],
};

function harness(changes: Partial<ShutdownParts> = {}) {
  const clock = createFakeClock();
  const order: string[] = [];
  const faults: unknown[] = [];
  const step = (name: string) => async () => void order.push(name);
  const parts: ShutdownParts = {
    clock,
    timeoutMs: 10_000,
    stopSources: step("sources"),
    stopCollector: step("collector"),
    drainStream: step("drain"),
    stopAggregator: step("aggregator"),
    leftOver: () => [batch],
    fold: step("fold"),
    stopRecording: step("recording"),
    closeStream: step("stream"),
    closeStore: step("store"),
    onFault: (error) => faults.push(error),
    ...changes,
  };
  return { clock, order, faults, ended: shutDown(parts) };
}

const IN_ORDER = ["sources", "collector", "drain", "aggregator", "fold", "recording", "stream", "store"];

describe("shutting down", () => {
  it("ends the parts in the order in which data flows and leaves no timer", async () => {
    const { order, clock, ended } = harness();
    await ended;
    expect(order).toEqual(IN_ORDER);
    expect(clock.pendingTimers).toBe(0);
  });

  it("goes on when a part fails, and reports it", async () => {
    const { order, faults, ended } = harness({ drainStream: () => Promise.reject(new Error("Redis is away")) });
    await ended;
    expect(order).toEqual(IN_ORDER.filter((step) => step !== "drain"));
    expect(faults).toEqual([expect.objectContaining({ message: "Redis is away" })]);
  });

  it("folds what it can of what is left, and goes on when nobody can say what that is", async () => {
    const folded: number[] = [];
    const cut = harness({
      leftOver: () => [1, 2, 3].map((seq) => ({ ...batch, seq })),
      async fold({ seq }) {
        if (seq === 2) throw new Error("refused");
        folded.push(seq);
      },
    });
    await cut.ended;
    expect(folded).toEqual([1, 3]);
    expect(cut.faults).toEqual([expect.objectContaining({ message: "refused" })]);
    const lost = harness({
      leftOver() {
        throw new Error("cannot say");
      },
    });
    await lost.ended;
    expect(lost.order).toEqual(IN_ORDER.filter((step) => step !== "fold"));
    expect(lost.faults).toEqual([expect.objectContaining({ message: "cannot say" })]);
  });

  it("ends at its deadline, whatever hangs", async () => {
    const { clock, ended } = harness({ closeStream: () => new Promise(() => {}) });
    let done = false;
    void ended.then(() => {
      done = true;
    });
    await clock.advance(9_999);
    expect(done).toBe(false);
    await clock.advance(1);
    expect(done).toBe(true);
  });

  it("keeps the process alive until it has ended, where nothing else does", () => {
    const script = `
      import { shutDown } from "./server/shutdown.js";
      import { systemClock } from "./server/ports/clock.js";
      const nothing = async () => {};
      const slow = () => new Promise((resolve) => systemClock.setTimer(resolve, 200));
      await shutDown({ clock: systemClock, timeoutMs: 5000, stopSources: slow, stopCollector: nothing, drainStream: nothing,
        stopAggregator: nothing, leftOver: () => [], fold: nothing, stopRecording: nothing, closeStream: nothing,
        closeStore: nothing, onFault() {} });
      console.log("ended");`;
    const output = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      encoding: "utf8",
    });
    expect(output).toBe("ended\n");
  });
});
