import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createWriteMode } from "../../../server/guard/database/write-mode.js";
import {
  nextWriteState,
  WRITABLE,
  type WriteEvent,
  type WriteFinding,
  type WriteState,
} from "../../../server/guard/database/write-state.js";
import type { JournalEntry } from "../../../server/ports/journal.js";
import type { Failure } from "../../../shared/failure.js";
import { createFakeClock, settle } from "../../support/fake-clock.js";

const reason = fc.constantFrom("read_only", "disk_full");
const finding = fc.constantFrom<WriteFinding[]>("writable", "read_only", "untold", "unreachable");
const event: fc.Arbitrary<WriteEvent> = fc.oneof(
  fc.record({ type: fc.constant("write.refused"), reason }),
  fc.record({ type: fc.constant("write.succeeded") }),
  fc.record({ type: fc.constant("probed"), finding }),
);

describe("whether a database takes writes", () => {
  it("is decided by proof: a refused write and a probe, or three refused writes in a row where probes cannot tell", () => {
    fc.assert(
      fc.property(fc.array(event, { size: "max", maxLength: 60 }), (events) => {
        let state: WriteState = WRITABLE;
        let refusedInARow = 0;
        for (const [at, next] of events.entries()) {
          const before = state;
          state = nextWriteState(before, next, at);
          if (next.type === "write.succeeded") refusedInARow = 0;
          if (next.type === "write.refused") refusedInARow += 1;
          if (next.type === "probed" && next.finding === "writable") refusedInARow = 0;
          const hasEntered = before.mode !== "read_only" && state.mode === "read_only";
          if (hasEntered) {
            expect(before.mode).toBe("checking");
            expect(next.type === "probed" && next.finding !== "writable" && next.finding !== "unreachable").toBe(true);
            if (next.type === "probed" && next.finding === "untold") expect(refusedInARow).toBeGreaterThanOrEqual(3);
          }
          if (before.mode === "read_only" && state.mode !== "read_only") {
            expect(next.type === "write.succeeded" || (next.type === "probed" && next.finding === "writable")).toBe(
              true,
            );
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

function setUp(findings: WriteFinding[]) {
  const clock = createFakeClock();
  const journal: JournalEntry[] = [];
  const probedAt: number[] = [];
  const mode = createWriteMode("db:main", {
    clock,
    journal: { append: (entry) => void journal.push(entry) },
    probe: async () => {
      probedAt.push(clock.monotonic());
      return findings.shift() ?? "read_only";
    },
  });
  const told = () =>
    journal.map((entry) => (entry.type === "rescue.ended" ? [entry.rescue.actionStrategy, entry.rescue.status] : []));
  return { clock, mode, probedAt, told };
}

const failure = { eventId: "failure-1" } as Failure;

describe("read-only mode", () => {
  it("is entered after the first probe, and probes come less and less often", async () => {
    const { clock, mode, probedAt } = setUp([]);
    mode.refused("read_only", failure);
    expect(mode.readOnly).toBeUndefined();
    await clock.advance(0);
    expect(mode.readOnly).toBe("read_only");
    await clock.advance(60_000);
    const gaps = probedAt.slice(1).map((at, index) => at - (probedAt[index] ?? 0));
    expect(gaps).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    expect(mode.refusal(clock.monotonic())).toMatchObject({ reason: "read_only", retryAfterMs: 1_000 });
    mode.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  it("is left when a probe's write works, and both are written down", async () => {
    const { clock, mode, told } = setUp(["read_only", "writable"]);
    mode.refused("disk_full", failure);
    await clock.advance(5_000);
    expect(mode.readOnly).toBeUndefined();
    expect(mode.refusal(clock.monotonic())).toBeUndefined();
    expect(told()).toEqual([
      ["read_only_mode", "succeeded"],
      ["writes_resumed", "succeeded"],
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("lets one real write through in a while where no probe can tell", async () => {
    const { clock, mode, told } = setUp(Array(20).fill("untold"));
    for (let i = 0; i < 3; i += 1) {
      mode.refused("disk_full", failure);
      for (let waited = 0; waited < 10 && mode.readOnly === undefined; waited += 1) await clock.advance(100);
    }
    expect(mode.readOnly).toBe("disk_full");
    const admitted = () => mode.refusal(clock.monotonic()) === undefined;
    expect(admitted()).toBe(false);
    await clock.advance(1_000);
    expect([admitted(), admitted()]).toEqual([true, false]);
    mode.refused("disk_full", failure);
    expect(mode.readOnly).toBe("disk_full");
    await clock.advance(1_000);
    expect(admitted()).toBe(true);
    mode.succeeded();
    expect(mode.readOnly).toBeUndefined();
    expect(told().slice(-2)).toEqual([
      ["read_only_mode", "succeeded"],
      ["writes_resumed", "succeeded"],
    ]);
  });

  it.each([
    ["writable", ["fresh_connections", "succeeded"]],
    ["untold", ["read_only_mode", "skipped"]],
    ["unreachable", ["read_only_mode", "failed"]],
  ] as const)("is not entered when the probe finds it %s, and that is told", async (found, expected) => {
    const { clock, mode, told } = setUp([found]);
    mode.refused("read_only", failure);
    await clock.advance(0);
    expect(mode.readOnly).toBeUndefined();
    expect(told()).toEqual([expected]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("probes once at a time, and not more than once a second however many writes are refused", async () => {
    const { clock, mode, probedAt } = setUp(Array(100).fill("unreachable"));
    for (let i = 0; i < 100; i += 1) {
      mode.refused("read_only", failure);
      await clock.advance(100);
    }
    expect(probedAt.length).toBeLessThanOrEqual(11);
  });

  it("tells those who wait when it is known, also when nobody will find out any more", async () => {
    const { clock, mode } = setUp(["read_only", "writable"]);
    const told: string[] = [];
    const wait = (name: string) => void mode.checked().then(() => told.push(name));
    wait("at rest");
    await settle();
    expect(told).toEqual(["at rest"]);
    mode.refused("read_only", failure);
    wait("checking");
    await settle();
    expect(told).toEqual(["at rest"]);
    await clock.advance(0);
    wait("read-only");
    await settle();
    expect(told).toEqual(["at rest", "checking", "read-only"]);
    await clock.advance(1_000);
    expect(mode.readOnly).toBeUndefined();
    mode.refused("read_only", failure);
    wait("stopped");
    mode.stop();
    await settle();
    expect(told).toContain("stopped");
  });

  it("takes a probe that throws for one that could not be made", async () => {
    const clock = createFakeClock();
    const mode = createWriteMode("db:main", {
      clock,
      journal: { append() {} },
      probe: () => Promise.reject(new Error("no")),
    });
    mode.refused("read_only", failure);
    await clock.advance(0);
    await settle();
    expect(mode.readOnly).toBeUndefined();
  });
});
