/** What an instance remembers of circuits in the store and of transitions that wait. */
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import { createCircuitLedger } from "../../server/circuit/circuit-ledger.js";

const breaker = new CircuitBreaker("svc");
const pending = {
  snapshot: breaker.snapshot(),
  instant: { wall: 0, monotonic: 0 },
  transition: {
    circuitName: "svc",
    from: "closed",
    to: "open",
    reason: "repair",
    version: 1,
    at: 0,
    instance: "a",
    failureEventId: undefined,
  },
} as const;

describe("a ledger", () => {
  it("counts what waits over all circuits, and what is dropped", () => {
    const ledger = createCircuitLedger(10);
    expect([ledger.pending("svc"), ledger.drop("svc"), ledger.size]).toEqual([undefined, 0, 0]);
    ledger.pendingOf("svc").push(pending);
    ledger.pendingOf("svc").push(pending);
    ledger.pendingOf("other").push(pending);
    expect([ledger.pending("svc")?.size, ledger.size, ledger.waiting()]).toEqual([2, 3, ["svc", "other"]]);
    expect(ledger.drop("svc")).toBe(2);
    expect([ledger.pending("svc"), ledger.size, ledger.waiting()]).toEqual([undefined, 1, ["other"]]);
  });
});
