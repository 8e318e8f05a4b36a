import { initTRPC } from "@trpc/server";
import { type Observer, observable } from "@trpc/server/observable";
import { describe, expect, it } from "vitest";
import { createInFlight } from "../../server/instrumentation/in-flight.js";
import { createOperationSeries } from "../../server/instrumentation/operation-series.js";
import { createFakeClock, settle } from "../support/fake-clock.js";
import { createHarness, createRecordingSink, type Harness } from "./support.js";

const t = initTRPC.create();
/** Of the subscribers to `watched`, in their order. */
const observers: Observer<string, unknown>[] = [];

/** The same procedures behind the middleware and in an instrumented router. */
function bothWays(harness: Harness, clock: ReturnType<typeof createFakeClock>) {
  const routerOn = (procedure: typeof t.procedure) =>
    t.router({
      ask: procedure.query(() => clock.advance(10)),
      fail: procedure.query(() => {
        throw new Error("x");
      }),
      ticks: procedure.subscription(async function* () {
        await clock.advance(30);
        yield "a";
        await clock.advance(5);
        yield "b";
        await clock.advance(5);
      }),
      broken: procedure.subscription(async function* () {
        yield "a";
        throw new Error("cut");
      }),
      watched: procedure.subscription(() => observable<string>((observer) => void observers.push(observer))),
    });
  return [
    ["middleware", () => routerOn(t.procedure.use(harness.middleware))],
    ["instrument", () => harness.instrument(routerOn(t.procedure))],
  ] as const;
}

describe.each(["middleware", "instrument"] as const)("what a procedure gets from %s", (way) => {
  const setUp = (signal?: AbortSignal) => {
    const clock = createFakeClock();
    const harness = createHarness({ clock });
    const router = bothWays(harness, clock).find(([name]) => name === way)?.[1]();
    if (router === undefined) throw new Error(`no ${way}`);
    return { clock, harness, caller: t.createCallerFactory(router)({}, signal === undefined ? {} : { signal }) };
  };

  it("for a stream: the time to its first event, its events, its lifetime and why it ended", async () => {
    const { harness, caller } = setUp();
    const seen: string[] = [];
    for await (const event of await caller.ticks()) seen.push(event);
    expect(seen).toEqual(["a", "b"]);
    expect(harness.sink.values("trpc.ticks.first_event")).toEqual([30]);
    expect(harness.sink.sum("trpc.ticks.event_count")).toBe(2);
    expect(harness.sink.values("trpc.ticks.lifetime")).toEqual([40]);
    expect(harness.sink.values("trpc.ticks.lifetime", { end_reason: "completed" })).toEqual([40]);
    expect(harness.sink.values("trpc.ticks.duration", { status: "success" })).toEqual([40]);
    expect(harness.ended("ticks")).toEqual({ success: 1 });
  });

  it("for a stream whose reader had enough, whose client left, and that failed: another reason each", async () => {
    const leaving = new AbortController();
    const { harness, caller } = setUp(leaving.signal);
    for await (const _ of await caller.ticks()) break;
    await expect(
      (async () => {
        for await (const _ of await caller.broken());
      })(),
    ).rejects.toThrow("cut");
    const left = await caller.ticks();
    leaving.abort();
    const reasons = ["completed", "returned", "aborted", "failed"].map((end_reason) => [
      harness.sink.values("trpc.ticks.lifetime", { end_reason }).length,
      harness.sink.values("trpc.broken.lifetime", { end_reason }).length,
    ]);
    expect(reasons).toEqual([
      [0, 0],
      [1, 0],
      [1, 0],
      [0, 1],
    ]);
    expect(harness.ended("ticks")).toEqual({ success: 1, aborted: 1 });
    expect(harness.ended("broken")).toEqual({ server_error: 1 });
    expect(left).toBeDefined();
    expect(harness.faults).toEqual([]);
  });

  it("for an observable the same as for a stream, however it ends", async () => {
    const leaving = new AbortController();
    const { clock, harness, caller } = setUp(leaving.signal);
    const cut = new Error("cut");
    const seen: unknown[] = [];
    const watch = async () => {
      const watched = await caller.watched();
      const subscription = watched.subscribe({
        next: (value) => void seen.push(value),
        error: (error) => void seen.push(error),
        complete: () => void seen.push("complete"),
      });
      return { subscription, source: observers.at(-1) };
    };
    const completes = await watch();
    await clock.advance(30);
    completes.source?.next("a");
    await clock.advance(10);
    completes.source?.next("b");
    completes.source?.complete();
    const fails = await watch();
    fails.source?.error(cut);
    const left = await watch();
    left.subscription.unsubscribe();
    left.source?.next("too late");
    const aborted = await watch();
    leaving.abort();
    aborted.subscription.unsubscribe();
    expect(seen.slice(0, 3)).toEqual(["a", "b", "complete"]);
    expect(harness.sink.values("trpc.watched.first_event")).toEqual([30]);
    expect(harness.sink.values("trpc.watched.lifetime", { end_reason: "completed" })).toEqual([40]);
    const reasons = ["completed", "failed", "returned", "aborted"].map(
      (end_reason) => harness.sink.values("trpc.watched.lifetime", { end_reason }).length,
    );
    expect(reasons).toEqual([1, 1, 1, 1]);
    expect(harness.ended("watched")).toEqual({ success: 2, server_error: 1, aborted: 1 });
    expect(harness.journal.failures.map(({ errorMessage }) => errorMessage)).toEqual(["cut"]);
    expect(harness.faults).toEqual([]);
  });

  it("how many calls are in flight, streams until their end, and how many there were at most", async () => {
    const { clock, harness, caller } = setUp();
    const inFlight = (path: string) => harness.sink.values(`trpc.${path}.in_flight`);
    harness.start();
    const stream = (await caller.ticks())[Symbol.asyncIterator]();
    await Promise.all([caller.ask(), caller.ask(), caller.fail().catch(() => {})]);
    await clock.advance(1_000);
    expect(inFlight("ticks")).toEqual([1]);
    expect(inFlight("ask")).toEqual([2, 0]);
    expect(inFlight("fail")).toEqual([1, 0]);
    await clock.advance(1_000);
    expect(inFlight("ticks")).toEqual([1, 1]);
    expect(inFlight("ask")).toEqual([2, 0]);
    await stream.return?.();
    await settle();
    await harness.stop();
    expect(inFlight("ticks").at(-1)).toBe(0);
    const ended = inFlight("ticks").length;
    await clock.advance(10_000);
    expect(inFlight("ticks")).toHaveLength(ended);
  });
});

describe("calls in flight", () => {
  it("leave a procedure at rest out, and resolve its series with its first sample", () => {
    const sink = createRecordingSink();
    const inFlight = createInFlight(sink, createOperationSeries(sink, "trpc."));
    const activity = inFlight.of("a");
    activity.enter();
    expect(sink.descriptors).toEqual([]);
    inFlight.sample();
    expect(sink.descriptors).toMatchObject([{ metricName: "trpc.a.in_flight", kind: "gauge", source: "trpc.a" }]);
    activity.leave();
    for (let i = 0; i < 5; i += 1) inFlight.sample();
    expect(sink.values("trpc.a.in_flight")).toEqual([1, 1, 0]);
  });
});
