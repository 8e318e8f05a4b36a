/** Instrumentation behind tRPC's fetch adapter, as edge runtimes and frameworks use it: a request in, a response out. */
import { initTRPC } from "@trpc/server";
import { fetchRequestHandler } from "@trpc/server/adapters/fetch";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { createHarness, type Harness } from "./support.js";

function createAppRouter(harness: Harness, onHang: () => void) {
  const t = initTRPC.create();
  const procedure = t.procedure.use(harness.middleware);
  return t.router({
    ok: procedure.query(() => harness.callContext.current()?.path ?? "no call"),
    fail: procedure.query(() => {
      throw new Error("broken");
    }),
    strict: procedure.input(z.object({ id: z.number() })).query(({ input }) => input.id),
    hang: procedure.query(
      ({ signal }) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener("abort", () => reject(new Error("stopped")));
          onHang();
        }),
    ),
    forever: procedure.subscription(async function* ({ signal }) {
      yield harness.callContext.current()?.path ?? "no call";
      await new Promise((resolve) => signal?.addEventListener("abort", resolve));
    }),
  });
}

describe("instrumentation of the fetch adapter", () => {
  let harness: Harness;
  let reports: number;
  const onHang = vi.fn();
  beforeEach(() => {
    harness = createHarness();
    reports = 0;
  });
  afterEach(() => {
    expect(harness.faults).toEqual([]);
  });

  const ask = (path: string, init: RequestInit = {}) =>
    fetchRequestHandler({
      endpoint: "/trpc",
      req: new Request(`http://app.example/trpc/${path}`, init),
      router: createAppRouter(harness, onHang),
      onError(report) {
        reports += 1;
        harness.onError(report);
      },
    });
  const eventually = (check: () => void) => vi.waitFor(check, { timeout: 5_000, interval: 5 });

  it("counts each call of a batch by itself, the failing one once", async () => {
    const response = await ask("ok,fail?batch=1");
    expect(response.status).toBe(207);
    expect(await response.json()).toMatchObject([{ result: { data: "ok" } }, { error: { message: "broken" } }]);
    expect(reports).toBe(1);
    expect(harness.ended("ok")).toEqual({ success: 1 });
    expect(harness.ended("fail")).toEqual({ server_error: 1 });
  });

  it("counts what no middleware sees: refused input, a procedure that is not there", async () => {
    expect((await ask(`strict?input=${encodeURIComponent('{"id":"x"}')}`)).status).toBe(400);
    expect((await ask("nope")).status).toBe(404);
    expect(harness.ended("strict")).toEqual({ client_error: 1 });
    expect(harness.ended("_OTHER")).toEqual({ client_error: 1 });
  });

  it("counts a request that its client gave up as aborted", async () => {
    const controller = new AbortController();
    const answer = ask("hang", { signal: controller.signal }).catch(() => {});
    await eventually(() => expect(onHang).toHaveBeenCalled());
    controller.abort();
    await answer;
    await eventually(() => expect(harness.ended("hang")).toEqual({ aborted: 1 }));
  });

  it("ends a subscription whose reader leaves the stream", async () => {
    const controller = new AbortController();
    const response = await ask("forever", { signal: controller.signal });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes('"forever"')) text += (await reader?.read())?.value ?? "";
    controller.abort();
    await reader?.cancel();
    await eventually(() => expect(harness.ended("forever")).toEqual({ aborted: 1 }));
    expect(harness.journal.entries).toEqual([]);
  });
});
