import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import { createPendingTransitions, type PendingTransition } from "../../server/circuit/pending-transitions.js";

const snapshot = new CircuitBreaker("svc").snapshot();

function moved(version: number): PendingTransition {
  const [from, to] = version % 2 === 1 ? (["closed", "open"] as const) : (["open", "closed"] as const);
  return {
    instant: { wall: version, monotonic: version },
    snapshot: { ...snapshot, state: to, version },
    transition: {
      circuitName: "svc",
      from,
      to,
      reason: "operator",
      version,
      at: version,
      instance: "a",
      failureEventId: undefined,
    },
  };
}

function filled(bound: number, versions: readonly number[]) {
  const pending = createPendingTransitions(bound);
  const lost = versions.map((version) => pending.push(moved(version))).reduce((sum, count) => sum + count, 0);
  return { pending, lost };
}

describe("pending transitions", () => {
  it("are taken together, oldest first, and again until they are confirmed, with what came meanwhile", () => {
    const { pending, lost } = filled(10, [1, 2]);
    expect(lost).toBe(0);
    expect(pending.take()).toEqual([moved(1), moved(2)]);
    pending.push(moved(3));
    expect([pending.first, pending.last, pending.size]).toEqual([moved(1), moved(3), 3]);
    expect(pending.take()).toEqual([moved(1), moved(2), moved(3)]);
    pending.push(moved(4));
    pending.confirm();
    expect([pending.first, pending.size]).toEqual([moved(4), 1]);
    expect(pending.take()).toEqual([moved(4)]);
    expect(pending.last).toEqual(moved(4));
    pending.push(moved(5));
    expect(pending.clear()).toBe(2);
    expect([pending.first, pending.last, pending.size]).toEqual([undefined, undefined, 0]);
    expect(pending.take()).toEqual([]);
  });

  it("beyond the bound merge at the end: from where the older began, to where the newer ended", () => {
    const { pending, lost } = filled(2, [1, 2]);
    expect(lost).toBe(0);
    const halfOpen = { ...moved(4), transition: { ...moved(4).transition, to: "half_open" as const } };
    expect(pending.push(halfOpen)).toBe(1);
    expect(pending.take()).toEqual([
      moved(1),
      { ...halfOpen, transition: { ...halfOpen.transition, from: "open", to: "half_open" } },
    ]);
  });

  it("that lead back to where they began leave no transition, and the circuit as it is now", () => {
    const { pending, lost } = filled(2, [1, 2, 3]);
    expect(lost).toBe(2);
    expect(pending.take()).toEqual([{ ...moved(3), transition: moved(1).transition }]);
  });

  it("that were taken are not merged, and grow up to the bound", () => {
    const { pending } = filled(3, [1]);
    pending.take();
    pending.push(moved(2));
    pending.push(moved(3));
    expect(pending.take()).toHaveLength(3);
    expect([4, 5, 6].map((version) => pending.push(moved(version)))).toEqual([0, 0, 0]);
    expect(pending.take()).toEqual([moved(1), moved(2), moved(3)]);
    expect(pending.size).toBe(6);
    pending.confirm();
    expect(pending.take()).toEqual([moved(4), moved(5), moved(6)]);
  });
});
