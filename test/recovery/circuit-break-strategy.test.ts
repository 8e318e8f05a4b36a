import { describe, expect, it } from "vitest";
import type { ControlMessage } from "../../server/ports/control-channel.js";
import { CircuitBreakStrategy } from "../../server/recovery/circuit-break-strategy.js";
import type { CircuitState } from "../../shared/circuit.js";
import { createFakeClock } from "../support/fake-clock.js";
import { aFailure } from "./a-failure.js";

function setUp(circuits: Record<string, CircuitState>, onPublish: (message: ControlMessage) => void = () => {}) {
  const clock = createFakeClock();
  const published: ControlMessage[] = [];
  const channel = {
    publish(message: ControlMessage) {
      published.push(message);
      onPublish(message);
    },
    subscribe: () => () => {},
  };
  const strategy = new CircuitBreakStrategy({ clock, channel, circuitState: (name) => circuits[name] });
  return { clock, published, strategy };
}

const failure = aFailure({ eventId: "stored-1", failureType: "auth_failed", affectedService: "llm:openai" });

describe("CircuitBreakStrategy", () => {
  it("tells the circuit of the failing service to open, and believes it only when it sees it open", async () => {
    const circuits: Record<string, CircuitState> = { "llm:openai": "closed" };
    const { strategy, published } = setUp(circuits, () => {
      circuits["llm:openai"] = "open";
    });
    expect(await strategy.execute(failure)).toMatchObject({ success: true, metadata: { from: "closed" } });
    expect(published).toEqual([
      { type: "circuit.open", circuitName: "llm:openai", reason: "auth_failed", failureEventId: "stored-1" },
    ]);
    expect(await strategy.verify(failure)).toBe(true);
  });

  it("waits for a message that is delivered a little later", async () => {
    const circuits: Record<string, CircuitState> = { "llm:openai": "closed" };
    const { strategy, clock } = setUp(circuits);
    const verified = strategy.verify(failure);
    await clock.advance(400);
    circuits["llm:openai"] = "open";
    await clock.advance(100);
    expect(await verified).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it("does not claim success for a circuit that stays as it is, such as one that is held by hand", async () => {
    const { strategy, clock } = setUp({ "llm:openai": "closed" });
    const verified = strategy.verify(failure);
    await clock.advance(2_000);
    expect(await verified).toBe(false);
  });

  it("leaves alone what stays usable without what failed", () => {
    const strategy = new CircuitBreakStrategy({
      channel: { publish() {}, subscribe: () => () => {} },
      circuitState: () => "closed",
      staysUsable: ({ failureType }) => failureType === "database_readonly",
    });
    expect(strategy.appliesTo({ ...failure, failureType: "database_readonly" })).toBe(false);
    expect(strategy.appliesTo(failure)).toBe(true);
  });

  it("applies only where there is a circuit", () => {
    const { strategy } = setUp({ "llm:openai": "closed" });
    expect(strategy.appliesTo(failure)).toBe(true);
    expect(strategy.appliesTo({ ...failure, affectedService: "trpc.ask" })).toBe(false);
  });

  it("publishes nothing when the circuit is open already, or is not there", async () => {
    const { strategy, published } = setUp({ "llm:openai": "open" });
    expect(await strategy.execute(failure)).toMatchObject({ success: true });
    expect(await strategy.execute({ ...failure, affectedService: "db:none" })).toMatchObject({ success: false });
    expect(published).toEqual([]);
  });
});
