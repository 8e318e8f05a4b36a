import { performance } from "node:perf_hooks";
import { afterAll, describe, expect, it } from "vitest";
import { heldMs, openThreadClock } from "../../bench/thread-times.js";

const clock = openThreadClock();
afterAll(() => clock.close());

describe("how long a thread was held", () => {
  it("is what it ran, however long the queue for a processor and the host of the machine held it up", () => {
    const before = { ranMs: 100, waitedMs: 10, sleeps: 3 };
    expect(heldMs(50, before, { ranMs: 101, waitedMs: 30, sleeps: 3 })).toBe(1);
  });

  it("is all that went by but the queue when it slept, because what it slept for is its own", () => {
    const before = { ranMs: 100, waitedMs: 10, sleeps: 3 };
    expect(heldMs(50, before, { ranMs: 101, waitedMs: 30, sleeps: 4 })).toBe(30);
  });

  it("is never more than went by, and just that where the system does not tell", () => {
    const before = { ranMs: 100, waitedMs: 10, sleeps: 3 };
    expect(heldMs(1, before, { ranMs: 102, waitedMs: 10, sleeps: 3 })).toBe(1);
    expect(heldMs(7, undefined, undefined)).toBe(7);
  });

  it("is read of work and of sleep on this very thread", () => {
    const held = (work: () => void) => {
      const before = clock.read();

      const startedAt = performance.now();
      work();
      return heldMs(performance.now() - startedAt, before, clock.read());
    };
    const worked = held(() => {
      const { user, system } = process.cpuUsage();
      for (;;) {
        const now = process.cpuUsage();
        if (now.user + now.system - user - system >= 40_000) return;
      }
    });
    // Other threads of this process may have taken part of the 40 ms.
    expect(worked).toBeGreaterThan(10);
    expect(held(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30))).toBeGreaterThan(25);
  });
});
