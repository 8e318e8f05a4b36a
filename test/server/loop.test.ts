import { describe, expect, it } from "vitest";
import { createLoop } from "../../server/loop.js";
import { createFakeClock } from "../support/fake-clock.js";

function harness(run: () => Promise<void> = async () => {}) {
  const clock = createFakeClock();
  const errors: unknown[] = [];
  let runs = 0;
  const loop = createLoop({
    clock,
    intervalMs: 100,
    run: () => {
      runs += 1;
      return run();
    },
    onError: (error) => errors.push(error),
  });
  return { clock, loop, errors, runs: () => runs };
}

describe("a loop", () => {
  it("runs once per interval, and not before the first one has passed", async () => {
    const { clock, loop, runs } = harness();
    loop.start();
    loop.start();
    await clock.advance(99);
    expect(runs()).toBe(0);
    await clock.advance(201);
    expect(runs()).toBe(3);
    await loop.stop();
    await clock.advance(1_000);
    expect(runs()).toBe(3);
    expect(clock.pendingTimers).toBe(0);
  });

  it("goes on after a run that failed", async () => {
    const { clock, loop, errors, runs } = harness(async () => {
      throw new Error("broken");
    });
    loop.start();
    await clock.advance(200);
    expect(runs()).toBe(2);
    expect(errors).toHaveLength(2);
    await loop.stop();
  });

  it("never runs twice at once: runOnce joins, wake runs again afterwards", async () => {
    const releases: (() => void)[] = [];
    const { clock, loop, runs } = harness(() => new Promise((resolve) => releases.push(resolve)));
    const first = loop.runOnce();
    expect(loop.runOnce()).toBe(first);
    loop.wake();
    loop.wake();
    expect(runs()).toBe(1);
    releases.shift()?.();
    await first;
    await clock.advance(0);
    expect(runs()).toBe(2);
    releases.shift()?.();
    await clock.advance(0);
    expect(runs()).toBe(2);
  });

  it("waits in stop for the run that is under way", async () => {
    let finish: () => void = () => {};
    const { clock, loop } = harness(() => new Promise((resolve) => (finish = resolve)));
    loop.start();
    await clock.advance(100);
    let stopped = false;
    const stopping = loop.stop().then(() => {
      stopped = true;
    });
    await clock.advance(0);
    expect(stopped).toBe(false);
    finish();
    await stopping;
    expect(stopped).toBe(true);
  });
});
