/** B7: automation never refuses everything at once. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { createPanicThreshold, PANIC_FROM_CIRCUITS, type PanicReport } from "../../server/circuit/panic-threshold.js";
import { silentLogger } from "../../server/ports/logger.js";
import { runs } from "../support/property-runs.js";
import { createStillClock } from "./still-clock.js";

function circuits(count: number, panicShare?: number) {
  const clock = createStillClock();
  const reports: PanicReport[] = [];
  const errors: [object, string][] = [];
  const registry = new CircuitBreakerRegistry(
    {
      clock,
      random: () => 0,
      logger: { ...silentLogger, error: (fields: object, message: string) => void errors.push([fields, message]) },
      onPanic: (report) => reports.push(report),
    },
    { panicShare },
  );
  const all = Array.from({ length: count }, (_, index) =>
    registry.getOrCreate(`svc:${index}`, { failureThreshold: 1, resetTimeoutMs: 1_000, successThreshold: 1 }),
  );
  const trip = (from: number, to: number) => {
    for (const breaker of all.slice(from, to)) breaker.tryAcquire()?.failure();
  };
  const refusing = () => all.filter((breaker) => breaker.tryAcquire() === undefined).length;
  return { clock, registry, all, trip, refusing, reports, errors };
}

describe("the panic threshold", () => {
  it("B7: lets half of the circuits refuse, and those that open beyond it only measure", () => {
    const { all, trip, refusing, registry } = circuits(10);
    trip(0, 10);
    expect(all.map((breaker) => breaker.state)).toEqual(Array.from({ length: 10 }, () => "open"));
    expect(refusing()).toBe(5);
    expect(registry.panic()).toEqual({ beyond: ["svc:5", "svc:6", "svc:7", "svc:8", "svc:9"], panics: 5 });
    expect(all[9]?.tryAcquire()).toBeDefined();
  });

  it("is told of once, with what an operator needs, until all are back below it", () => {
    const { clock, all, trip, reports, errors } = circuits(12, 0.25);
    trip(0, 3);
    expect(reports).toEqual([]);
    trip(3, 8);
    expect(reports).toEqual([{ open: 4, total: 12, allowed: 3, circuits: ["svc:3"] }]);
    expect(errors).toEqual([
      [
        { event: "circuits", subject: "panic threshold", open: 4, total: 12, allowed: 3, circuits: ["svc:3"] },
        expect.stringContaining("4 of 12 circuits opened by themselves and 3 may refuse"),
      ],
    ]);
    clock.leap(1_000);
    for (const breaker of all) breaker.tryAcquire()?.success();
    expect(all.every((breaker) => breaker.isClosed)).toBe(true);
    trip(0, 4);
    expect(reports).toHaveLength(2);
  });

  it("lets one that waited refuse when another has closed", () => {
    const { clock, all, trip, registry } = circuits(10);
    trip(0, 6);
    expect(all[5]?.tryAcquire()).toBeDefined();
    clock.leap(1_000);
    all[0]?.tryAcquire()?.success();
    expect(registry.panic().beyond).toEqual([]);
  });

  it("does not count what an operator opened, and begins at ten circuits", () => {
    const by = circuits(10);
    for (const breaker of by.all.slice(0, 9)) breaker.forceOpen("operator");
    by.trip(9, 10);
    expect(by.refusing()).toBe(10);
    const few = circuits(PANIC_FROM_CIRCUITS - 1);
    few.trip(0, 9);
    expect(few.refusing()).toBe(9);
  });

  it("B7: is at all times the share that opened first, whatever opens, closes, comes and goes", () => {
    const move = fc.record({
      name: fc.nat(30).map(String),
      isOpen: fc.boolean(),
      total: fc.integer({ min: 1, max: 40 }),
    });
    fc.assert(
      fc.property(fc.constantFrom(0, 0.3, 0.5, 1), fc.array(move, { maxLength: 60, size: "max" }), (share, moves) => {
        const reports: PanicReport[] = [];
        const panic = createPanicThreshold(share, (report) => reports.push(report));
        let open: readonly string[] = [];
        let beyond: readonly string[] = [];
        let panics = 0;
        let reported = 0;
        for (const { name, isOpen, total } of moves) {
          const others = open.filter((one) => one !== name);
          open = isOpen ? (open.includes(name) ? open : [...open, name]) : others;
          const before = beyond;
          beyond = open.slice(total < PANIC_FROM_CIRCUITS ? total : Math.floor(share * total));
          panics += beyond.filter((one) => !before.includes(one)).length;
          if (before.length === 0 && beyond.length > 0) reported += 1;
          panic.moved(name, isOpen, total);
          expect(panic.state()).toEqual({ beyond, panics });
          expect(open.filter((one) => !panic.allows(one))).toEqual(beyond);
        }
        expect(reports).toHaveLength(reported);
      }),
      { numRuns: runs(100) },
    );
  });

  it("B7: holds from the tenth circuit on, also over those that were open before there were ten", () => {
    const { registry, trip, refusing, reports } = circuits(9);
    trip(0, 9);
    expect(refusing()).toBe(9);
    registry.getOrCreate("svc:tenth");
    expect(refusing()).toBe(5);
    expect(reports).toMatchObject([{ open: 9, total: 10, allowed: 5 }]);
  });

  it("counts what other instances opened: here they refuse no more than here may be", () => {
    const { clock, registry, all, refusing } = circuits(10, 0.2);
    for (const breaker of all) {
      const stored = { ...breaker.snapshot(), state: "open", version: 1, nextRetryAt: clock.now() + 1_000 } as const;
      registry.adopt(breaker, stored, { wall: clock.now(), monotonic: clock.monotonic() });
    }
    expect(refusing()).toBe(2);
  });

  it("may be off, or forbid all; a reporter that throws disturbs nobody", () => {
    const off = circuits(20, 1);
    off.trip(0, 20);
    expect(off.refusing()).toBe(20);
    const none = circuits(10, 0);
    none.trip(0, 1);
    expect(none.refusing()).toBe(0);
    const faults: unknown[] = [];
    const registry = new CircuitBreakerRegistry(
      {
        onFault: (error) => faults.push(error),
        onPanic: () => {
          throw new Error("pager");
        },
      },
      { panicShare: 0 },
    );
    for (let index = 0; index < 10; index += 1) registry.getOrCreate(`svc:${index}`, { failureThreshold: 1 });
    registry.get("svc:0")?.tryAcquire()?.failure();
    expect(faults).toEqual([new Error("pager")]);
  });

  it.each([
    [{ panicShare: 1.1 }, "panicShare must be in [0, 1], got 1.1"],
    [{ panicShare: Number.NaN }, "panicShare must be in [0, 1], got NaN"],
    [{ parentShare: 0 }, "parentShare must be above 0 and at most 1, got 0"],
    [{ parentMinimum: 0 }, "parentMinimum must be a whole number in [1, 1000000], got 0"],
    [
      { maxCircuits: 1.5, parentMinimum: -1 },
      "maxCircuits must be a whole number in [1, 1000000], got 1.5; parentMinimum",
    ],
  ])("is refused with %o", (options, message) => {
    expect(() => new CircuitBreakerRegistry({}, options)).toThrow(
      expect.objectContaining({ code: "CONFIGURATION_INVALID", message: expect.stringContaining(message) }),
    );
  });

  it("B7: holds in any history of failures, successes, waits and resets", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 10, max: 30 }),
        fc.constantFrom(0.1, 0.34, 0.5, 0.9),
        fc.array(
          fc.record({
            which: fc.nat({ max: 29 }),
            what: fc.constantFrom("fail", "succeed", "wait", "reset"),
          }),
          { size: "max", maxLength: 200 },
        ),
        (count, share, history) => {
          const { clock, all, refusing } = circuits(count, share);
          for (const { which, what } of history) {
            const breaker = all[which % count];
            if (what === "wait") clock.leap(400);
            else if (what === "reset") breaker?.reset("repair");
            else if (what === "fail") breaker?.tryAcquire()?.failure();
            else breaker?.tryAcquire()?.success();
            expect(refusing()).toBeLessThanOrEqual(Math.floor(share * count));
          }
        },
      ),
      { numRuns: runs(60, 0.2) },
    );
  });
});
