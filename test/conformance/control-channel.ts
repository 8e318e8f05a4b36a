/** What every control channel promises, told once and run against each of them. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ControlChannel, ControlMessage } from "../../server/ports/control-channel.js";
import { transitionOf } from "./store-fixtures.js";

export interface ControlChannelHarness {
  readonly channel: ControlChannel;
  readonly faults: readonly unknown[];
  dispose(): Promise<void>;
}

const hold = { state: "forced_open", by: "ada", reason: "migration" } as const;

/** One of each kind, with and without what may be left out. */
export const EVERY_MESSAGE: readonly ControlMessage[] = [
  { type: "circuit.open", circuitName: "llm:openai/gpt", reason: "circuit_break", failureEventId: "event-1" },
  { type: "circuit.open", circuitName: "llm:openai", reason: "operator", failureEventId: undefined },
  { type: "circuit.reset", circuitName: "llm:openai", reason: "operator" },
  { type: "circuit.hold", circuitName: "db:main", hold: { ...hold, until: 1_800_000_000_000 } },
  { type: "circuit.hold", circuitName: "db:main", hold: { ...hold, until: undefined } },
  { type: "circuit.release", circuitName: "db:main" },
  { type: "circuit.transitioned", transition: transitionOf({ failureEventId: "event-1" }) },
  { type: "circuit.transitioned", transition: transitionOf({ reason: "children_open", version: 7 }) },
  { type: "settings.changed", name: "safety_mode" },
];

export function describeControlChannel(name: string, create: () => Promise<ControlChannelHarness>): void {
  describe(`${name} keeps the control channel's promises`, () => {
    let harness: ControlChannelHarness;
    beforeEach(async () => {
      harness = await create();
    });
    afterEach(() => harness.dispose());

    it("tells every listener of this process at once, in order, and says that it is from here", () => {
      const heard: unknown[][] = [[], []];
      for (const list of heard) harness.channel.subscribe((message, { remote }) => list.push([message, remote]));
      for (const message of EVERY_MESSAGE) harness.channel.publish(message);
      const expected = EVERY_MESSAGE.map((message) => [message, false]);
      expect(heard).toEqual([expected, expected]);
    });

    it("tells nobody who has stopped listening", () => {
      const heard: unknown[] = [];
      const stop = harness.channel.subscribe((message) => heard.push(message));
      harness.channel.subscribe(() => stop());
      for (const message of EVERY_MESSAGE.slice(0, 2)) harness.channel.publish(message);
      expect(heard).toHaveLength(1);
    });

    it("does not throw what a listener throws, and tells the others all the same", () => {
      const heard: unknown[] = [];
      const fault = new Error("listener");
      harness.channel.subscribe(() => {
        throw fault;
      });
      harness.channel.subscribe((message) => heard.push(message));
      harness.channel.publish({ type: "settings.changed", name: "mode" });
      expect(heard).toHaveLength(1);
      expect(harness.faults).toEqual([fault]);
    });
  });
}
