import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RescueRecord } from "../../server/ports/journal.js";
import { createJournal } from "../../server/recovery/journal.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { aFailure } from "./a-failure.js";

const aRescue = (given: Partial<RescueRecord> = {}): RescueRecord => ({
  failureEventId: "unseen",
  timestamp: 2_000,
  actionType: "retry",
  actionStrategy: "exponential_backoff_retry",
  status: "succeeded",
  target: "llm:openai",
  durationMs: 100,
  message: "",
  metadata: undefined,
  dryRun: false,
  ...given,
});

const aTransition = (version: number): CircuitTransition => ({
  circuitName: "llm:openai",
  from: "closed",
  to: "open",
  reason: "failure_threshold",
  version,
  at: 1_000,
  instance: "a",
  failureEventId: undefined,
});

describe("journal", () => {
  it("keeps a storm of 100,000 identical failures and their rescues as one entry each, with counts", () => {
    const journal = createJournal();
    for (let i = 0; i < 100_000; i += 1) {
      const failure = aFailure({ eventId: `e${i}`, timestamp: i, errorMessage: `request ${i} failed` });
      journal.append({ type: "failure.observed", failure, rescued: i % 2 === 0 });
      journal.append({ type: "rescue.ended", rescue: aRescue({ failureEventId: failure.eventId, timestamp: i }) });
    }

    expect(journal.size).toBe(2);
    const [failure, rescue] = journal.drain(10);
    expect(failure).toMatchObject({ failure: { eventId: "e0", timestamp: 0 }, occurrences: 100_000, rescued: 50_000 });
    expect(failure).toMatchObject({ lastSeenAt: 99_999 });
    expect(rescue).toMatchObject({ occurrences: 100_000, rescue: { timestamp: 99_999 }, firstAt: -100 });
    expect(journal.dropped).toMatchObject({ "failure.observed": 0, "rescue.ended": 0 });
  });

  it("keeps the worse severity of repeats", () => {
    const journal = createJournal();
    for (const severity of ["low", "critical", "medium"] as const) {
      journal.append({ type: "failure.observed", failure: aFailure({ severity }), rescued: false });
    }
    expect(journal.drain(1)).toMatchObject([{ failure: { severity: "critical" } }]);
  });

  it("does not fold rescues that differ in strategy, target, status, dry run or failure", () => {
    const journal = createJournal();
    const one = aFailure({ failureType: "api_timeout" });
    const other = aFailure({ failureType: "dns_error" });
    for (const failure of [one, other]) journal.append({ type: "failure.observed", failure, rescued: false });
    const base = aRescue({ failureEventId: one.eventId });
    const variants = [
      base,
      { ...base, actionStrategy: "provider_failover" },
      { ...base, target: "llm:gemini" },
      { ...base, status: "failed" as const },
      { ...base, dryRun: true },
      { ...base, failureEventId: other.eventId },
    ];
    for (const rescue of [...variants, ...variants]) journal.append({ type: "rescue.ended", rescue });
    expect(journal.size).toBe(2 + variants.length);
  });

  it("links a rescue to its failure's fingerprint, also after the failure was drained", () => {
    const journal = createJournal();
    const failure = aFailure();
    journal.append({ type: "failure.observed", failure, rescued: false });
    const [drained] = journal.drain(1);
    journal.append({ type: "rescue.ended", rescue: aRescue({ failureEventId: failure.eventId }) });
    journal.append({ type: "rescue.ended", rescue: aRescue({ failureEventId: "never seen" }) });

    const [linked, unlinked] = journal.drain(2);
    expect(linked).toMatchObject({ fingerprint: drained?.type === "failure.observed" ? drained.fingerprint : "" });
    expect(unlinked).toMatchObject({ fingerprint: undefined });
  });

  it("counts one sighting once, and marks it rescued when it is reported again so", () => {
    const journal = createJournal();
    const failure = aFailure();
    journal.append({ type: "failure.observed", failure, rescued: false });
    journal.append({ type: "failure.observed", failure, rescued: true });
    expect(journal.drain(9)).toMatchObject([{ occurrences: 1, rescued: 1 }]);
  });

  it("gives every transition its own entry", () => {
    const journal = createJournal();
    for (const version of [1, 2, 2]) journal.append({ type: "circuit.transitioned", transition: aTransition(version) });
    expect(journal.size).toBe(3);
  });

  it("drains in the order of first appearance, and takes back to the front, unchanged by later repeats", () => {
    const journal = createJournal();
    const observe = (service: string) =>
      journal.append({ type: "failure.observed", failure: aFailure({ affectedService: service }), rescued: false });
    observe("a");
    observe("b");
    observe("c");
    const drained = journal.drain(2);
    observe("a");
    journal.restore(drained);

    const services = () =>
      journal
        .drain(9)
        .map((entry) => entry.type === "failure.observed" && [entry.failure.affectedService, entry.occurrences]);
    expect(services()).toEqual([
      ["a", 1],
      ["b", 1],
    ]);
    expect(services()).toEqual([
      ["c", 1],
      ["a", 1],
    ]);
  });

  it("takes back two batches in their order, when the later one comes first", () => {
    const journal = createJournal();
    for (const version of [1, 2, 3]) journal.append({ type: "circuit.transitioned", transition: aTransition(version) });
    const first = journal.drain(1);
    const second = journal.drain(1);
    journal.restore(second);
    journal.restore(first);
    const versions = () =>
      journal.drain(9).map((entry) => (entry.type === "circuit.transitioned" ? entry.transition.version : 0));
    expect(versions()).toEqual([1, 2]);
    expect(versions()).toEqual([3]);
  });

  it("remembers the latest time at which a failure was seen, whatever the order of its sightings", () => {
    const journal = createJournal();
    for (const timestamp of [2_000, 9_000, 5_000]) {
      journal.append({ type: "failure.observed", failure: aFailure({ timestamp }), rescued: false });
    }
    expect(journal.drain(1)).toMatchObject([{ failure: { timestamp: 2_000 }, lastSeenAt: 9_000 }]);
  });

  it("counts by kind what does not fit, and still folds repeats of what is in it", () => {
    const journal = createJournal({}, { capacity: 2 });
    const observe = (service: string) =>
      journal.append({ type: "failure.observed", failure: aFailure({ affectedService: service }), rescued: false });
    for (const service of ["a", "b", "c", "a"]) observe(service);
    journal.append({ type: "circuit.transitioned", transition: aTransition(1) });
    journal.append({ type: "rescue.ended", rescue: aRescue() });

    expect(journal.size).toBe(2);
    expect(journal.dropped).toEqual({
      "failure.observed": 1,
      "rescue.ended": 1,
      "circuit.transitioned": 1,
      unreadable: 0,
    });
    expect(journal.drain(9)).toMatchObject([{ occurrences: 2 }, { occurrences: 1 }]);
  });

  it("never throws: an entry that cannot be read is counted and reported", () => {
    const faults: unknown[] = [];
    const journal = createJournal({ onFault: (error) => faults.push(error) });
    const hostile = new Proxy(aFailure(), {
      get() {
        throw new Error("unreadable");
      },
    });
    journal.append({ type: "failure.observed", failure: hostile, rescued: false });
    expect(journal.size).toBe(0);
    expect(journal.dropped.unreadable).toBe(1);
    expect(faults).toHaveLength(1);
  });

  it("loses no sighting, whatever is appended, drained and restored in which order", () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant("append" as const), service: fc.constantFrom("a", "b", "c", "d", "e") }),
      },
      fc.record({ do: fc.constant("drain" as const), max: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ do: fc.constant("restore" as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { size: "max", maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (steps, capacity) => {
        const journal = createJournal({}, { capacity });
        let appended = 0;
        let landed = 0;
        let out: ReturnType<typeof journal.drain> = [];
        const count = (entries: typeof out) =>
          entries.reduce((sum, entry) => sum + (entry.type === "failure.observed" ? entry.occurrences : 0), 0);
        for (const action of steps) {
          switch (action.do) {
            case "append":
              appended += 1;
              journal.append({
                type: "failure.observed",
                failure: aFailure({ affectedService: action.service }),
                rescued: false,
              });
              break;
            case "drain":
              landed += count(out);
              out = journal.drain(action.max);
              break;
            case "restore":
              journal.restore(out);
              out = [];
              break;
          }
        }
        landed += count(out);
        while (journal.size > 0) landed += count(journal.drain(1_000));
        expect(landed + journal.dropped["failure.observed"]).toBe(appended);
      }),
    );
  });
});
