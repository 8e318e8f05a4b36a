/** What one write brings to the store, from what waits and what is stored. */
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import type { PendingTransition } from "../../server/circuit/pending-transitions.js";
import { stepFrom } from "../../server/circuit/transition-step.js";
import type { CircuitState } from "../../shared/circuit.js";

const snapshot = new CircuitBreaker("svc").snapshot();
const now = { wall: 1_000_000, monotonic: 60_000 };

function moved(from: CircuitState, to: CircuitState, version: number, nextRetryAt?: number): PendingTransition {
  const transition = {
    circuitName: "svc",
    from,
    to,
    reason: "operator",
    version,
    at: 0,
    instance: "a",
    failureEventId: undefined,
  } as const;
  return {
    transition,
    snapshot: { ...snapshot, state: to, version, nextRetryAt },
    instant: { wall: 500, monotonic: 100 },
  };
}

function stored(state: CircuitState, version: number) {
  const row = { ...snapshot, state, version, updatedAt: 0, readAt: 0, probeLease: undefined };
  return { stored: row, instant: now };
}

const opened = moved("closed", "open", 1);
const halfOpened = moved("open", "half_open", 2);
const closed = moved("half_open", "closed", 3);

describe("a step", () => {
  it("is numbered from what is stored, or by the circuit itself where nothing is", () => {
    expect(stepFrom(undefined, [halfOpened, closed], now)).toMatchObject({
      type: "write",
      snapshot: { state: "closed", version: 3, nextRetryAt: undefined },
      transition: { to: "closed", version: 3 },
      earlier: [{ to: "half_open", version: 2 }],
    });
    const step = stepFrom(stored("closed", 7), [opened, halfOpened], now);
    expect(step).toMatchObject({
      type: "write",
      snapshot: { state: "half_open", version: 9 },
      transition: { to: "half_open", version: 9 },
    });
    expect(step.type === "write" && step.earlier).toEqual([{ ...opened.transition, version: 8 }]);
  });

  it("is superseded where it does not begin at what is stored", () => {
    const open = stored("open", 4);
    expect(stepFrom(open, [opened], now)).toEqual({ type: "superseded", by: open });
    const probing = stored("half_open", 5);
    expect(stepFrom(probing, [opened], now)).toEqual({ type: "superseded", by: probing });
  });

  it("of an instance that waited as open while another probed begins at half-open", () => {
    expect(stepFrom(stored("half_open", 5), [moved("open", "closed", 2)], now)).toMatchObject({
      type: "write",
      transition: { from: "half_open", to: "closed", version: 6 },
      earlier: [],
    });
  });

  it("is nothing where it only joins those that probe, and goes on from there", () => {
    expect(stepFrom(stored("half_open", 5), [halfOpened], now)).toEqual({ type: "joined" });
    expect(stepFrom(undefined, [], now)).toEqual({ type: "joined" });
    expect(stepFrom(stored("half_open", 5), [halfOpened, closed], now)).toMatchObject({
      type: "write",
      transition: { from: "half_open", to: "closed", version: 6 },
      earlier: [],
    });
  });

  it("tells of a deadline by the wall clock of now, from what is left of it by the monotonic one", () => {
    // 10 s were left, 59.9 s ago.
    const step = stepFrom(undefined, [moved("closed", "open", 1, 10_500)], now);
    expect(step).toMatchObject({ snapshot: { nextRetryAt: 1_000_000 + 10_000 - 59_900 } });
  });
});
