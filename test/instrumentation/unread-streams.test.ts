/** Streams that nobody reads: a client that asks for one in a way that cannot carry it, a caller who drops it. */
import { initTRPC } from "@trpc/server";
import { fetchRequestHandler } from "@trpc/server/adapters/fetch";
import { describe, expect, it } from "vitest";
import { createFakeClock } from "../support/fake-clock.js";
import { createHarness } from "./support.js";

const UNREAD_MS = 30_000;

function createApp() {
  const clock = createFakeClock();
  const harness = createHarness({ clock });
  const t = initTRPC.create();
  const router = t.router({
    numbers: t.procedure.use(harness.middleware).query(async function* () {
      yield 1;
      yield 2;
    }),
  });
  const ask = (path: string) =>
    fetchRequestHandler({
      endpoint: "/trpc",
      req: new Request(`http://app.example/trpc/${path}`),
      router,
      onError: harness.onError,
    });
  harness.start();
  const inFlight = async () => {
    await clock.advance(1_000);
    return harness.sink.values("trpc.numbers.in_flight").at(-1);
  };
  return { clock, harness, ask, inFlight, caller: t.createCallerFactory(router)({}) };
}

describe("a stream that nobody reads", () => {
  it.each(["numbers", "numbers?batch=1"])("ends its call, asked for as %s where it cannot be sent", async (path) => {
    const { clock, harness, ask, inFlight } = createApp();
    expect((await ask(path)).status).toBe(415);
    await clock.advance(UNREAD_MS - 2_000);
    expect(await inFlight()).toBe(1);
    await clock.advance(1_000);
    expect(await inFlight()).toBe(0);
    expect(harness.ended("numbers")).toEqual({ aborted: 1 });
    expect(harness.sink.values("trpc.numbers.duration")).toEqual([0]);
    expect(harness.journal.entries).toEqual([]);
  });

  it("is counted once, though it is read after all", async () => {
    const { clock, harness, caller } = createApp();
    const numbers = await caller.numbers();
    await clock.advance(UNREAD_MS);
    const seen: number[] = [];
    for await (const number of numbers) seen.push(number);
    expect(seen).toEqual([1, 2]);
    expect(harness.ended("numbers")).toEqual({ aborted: 1 });
  });

  it("is waited for no longer once somebody has begun", async () => {
    const { clock, harness, inFlight, caller } = createApp();
    const numbers = await caller.numbers();
    const { pendingTimers } = clock;
    await numbers.next();
    expect(clock.pendingTimers).toBe(pendingTimers - 1);
    await clock.advance(10 * UNREAD_MS);
    expect(await inFlight()).toBe(1);
    for await (const _ of numbers);
    expect(await inFlight()).toBe(0);
    expect(harness.ended("numbers")).toEqual({ success: 1 });
  });
});
