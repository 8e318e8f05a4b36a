import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import { createPendingTransitions, type PendingTransition } from "../../server/circuit/pending-transitions.js";

const snapshot = new CircuitBreaker("svc").snapshot();

function moved(version: number): PendingTransition {
  const [from, to] = version % 2 === 1 ? (["closed", "open"] as const) : (["open", "closed"] as const);
  return {
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
  it("leave in their order, each once, and only the one that was confirmed", () => {
    const { pending, lost } = filled(10, [1, 2, 3]);
    expect(lost).toBe(0);
    const first = pending.first;
    expect(first?.transition.version).toBe(1);
    if (first !== undefined) {
      pending.confirm(first);
      pending.confirm(first);
    }
    expect(pending.first?.transition.version).toBe(2);
    expect(pending.last?.transition.version).toBe(3);
    expect(pending.size).toBe(2);
    expect(pending.clear()).toBe(2);
    expect([pending.first, pending.last, pending.size]).toEqual([undefined, undefined, 0]);
  });

  it("beyond the bound merge at the end: from where the older began, to where the newer ended", () => {
    const { pending, lost } = filled(2, [1, 2, 3, 4, 5]);
    expect(lost).toBe(3);
    expect(pending.size).toBe(2);
    expect(pending.first).toEqual(moved(1));
    expect(pending.last).toEqual({
      snapshot: moved(5).snapshot,
      transition: { ...moved(5).transition, from: "open", version: 2 },
    });
  });

  it("count on from another version together, circuit and transition alike", () => {
    const { pending } = filled(10, [1, 2, 3]);
    expect(pending.renumber(8)).toBe(10);
    expect(pending.first).toMatchObject({ transition: { version: 8 }, snapshot: { version: 8 } });
    expect(pending.last).toMatchObject({ transition: { version: 10 }, snapshot: { version: 10 } });
  });

  it("join a store that is behind with the first one only, which brings the circuit to where it is", () => {
    const { pending } = filled(10, [5, 6]);
    pending.rejoin(2);
    expect(pending.first).toMatchObject({ transition: { version: 3 }, snapshot: { version: 5 } });
    expect(pending.last).toEqual(moved(6));
  });

  it("that are none stay none", () => {
    const { pending } = filled(10, []);
    pending.rejoin(2);
    expect(pending.renumber(4)).toBe(4);
    pending.confirm(moved(1));
    expect(pending.size).toBe(0);
  });
});
