/** Instrumentation behind Express and under a real client: batches, subscriptions over SSE, and what no middleware sees. */
import { createServer, type Server } from "node:http";
import { createTRPCClient, httpBatchLink, httpBatchStreamLink, httpLink, httpSubscriptionLink } from "@trpc/client";
import { initTRPC, TRPCError, tracked } from "@trpc/server";
import { createExpressMiddleware } from "@trpc/server/adapters/express";
import { observable } from "@trpc/server/observable";
import { EventSource } from "eventsource";
import express from "express";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { createHarness, type Harness } from "./support.js";

const circumstances = { contextFails: false };

function createAppRouter(harness: Harness) {
  const t = initTRPC.context<{ user: string }>().create();
  const procedure = t.procedure.use(harness.middleware);
  return t.router({
    ok: procedure.query(() => "fine"),
    fail: procedure.query(() => {
      throw new Error("broken");
    }),
    missing: procedure.query(() => {
      throw new TRPCError({ code: "NOT_FOUND" });
    }),
    strict: procedure.input(z.object({ id: z.number() })).query(({ input }) => input.id),
    late: t.procedure
      .input(z.object({ id: z.number() }))
      .use(harness.middleware)
      .query(({ input }) => input.id),
    save: procedure.input(z.object({ id: z.number() })).mutation(() => "saved"),
    hang: procedure.query(
      ({ signal }) =>
        new Promise((_resolve, reject) => {
          const stop = () => reject(new Error("stopped"));
          if (signal?.aborted) stop();
          else signal?.addEventListener("abort", stop);
        }),
    ),
    numbers: procedure.query(async function* () {
      yield 1;
      yield 2;
    }),
    ticks: procedure.subscription(async function* () {
      yield tracked("a", 1);
      yield tracked("b", 2);
    }),
    breaks: procedure.input(z.enum(["error", "string", "undefined", "client"])).subscription(async function* ({
      input,
    }) {
      yield 1;
      if (input === "error") throw new Error("stream broken");
      if (input === "client") throw new TRPCError({ code: "FORBIDDEN" });
      throw input === "string" ? "stream broken" : undefined;
    }),
    forever: procedure.subscription(async function* ({ signal }) {
      yield harness.callContext.current()?.path ?? "no call";
      await new Promise((resolve) => signal?.addEventListener("abort", resolve));
    }),
    deaf: procedure.subscription(async function* () {
      yield harness.callContext.current()?.path ?? "no call";
      await new Promise(() => {});
    }),
    watched: procedure.subscription(() =>
      observable<string>((observer) => observer.next(harness.callContext.current()?.path ?? "no call")),
    ),
  });
}

type AppRouter = ReturnType<typeof createAppRouter>;

describe("instrumentation over HTTP", () => {
  let harness: Harness;
  let server: Server;
  let url: string;
  let reports: { error: TRPCError; path: string | undefined }[];

  beforeEach(async () => {
    harness = createHarness();
    circumstances.contextFails = false;
    reports = [];
    const app = express();
    app.use(
      "/trpc",
      createExpressMiddleware({
        router: createAppRouter(harness),
        createContext: () => {
          if (circumstances.contextFails) throw new Error("no session store");
          return { user: "ann" };
        },
        onError: (report) => {
          reports.push(report);
          harness.onError(report);
        },
      }),
    );
    server = createServer(app);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    url = `http://127.0.0.1:${address.port}/trpc`;
  });

  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(harness.faults).toEqual([]);
  });

  const batching = () => createTRPCClient<AppRouter>({ links: [httpBatchLink({ url })] });
  const single = () => createTRPCClient<AppRouter>({ links: [httpLink({ url })] });
  const subscribing = () => createTRPCClient<AppRouter>({ links: [httpSubscriptionLink({ url, EventSource })] });
  const eventually = (check: () => void) => vi.waitFor(check, { timeout: 30_000, interval: 5 });

  it("counts each call of a batch by itself, the failing one once", async () => {
    const client = batching();
    const results = await Promise.allSettled([client.ok.query(), client.fail.query(), client.missing.query()]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
    expect(harness.ended("ok")).toEqual({ success: 1 });
    expect(harness.ended("fail")).toEqual({ server_error: 1 });
    expect(harness.ended("missing")).toEqual({ client_error: 1 });
    expect(harness.journal.failures).toMatchObject([{ affectedService: "trpc.fail", errorMessage: "broken" }]);
    expect(reports).toHaveLength(2);
  });

  it("folds unknown procedures into _OTHER, whatever the client calls them", async () => {
    for (const path of ["nope", "../../etc", "a".repeat(5_000), "ok.nope"]) {
      expect((await fetch(`${url}/${encodeURIComponent(path)}`)).status).toBe(404);
    }
    expect(harness.ended("_OTHER")).toEqual({ client_error: 4 });
    expect(new Set(harness.sink.descriptors.map(({ source }) => source))).toEqual(new Set(["trpc._OTHER"]));
    expect(harness.journal.entries).toEqual([]);
  });

  it("counts refused input once, before the middleware or behind it", async () => {
    for (const path of ["strict", "late"]) {
      expect((await fetch(`${url}/${path}?input=${encodeURIComponent('{"id":"x"}')}`)).status).toBe(400);
      expect(harness.ended(path)).toEqual({ client_error: 1 });
    }
    await single().late.query({ id: 1 });
    expect(harness.ended("late")).toEqual({ client_error: 1, success: 1 });
  });

  it("counts a wrong method and a body that cannot be read", async () => {
    expect((await fetch(`${url}/save`)).status).toBe(405);
    expect(harness.ended("save")).toEqual({ client_error: 1 });
    const broken = { method: "POST", body: "{", headers: { "content-type": "application/json" } };
    expect((await fetch(`${url}/save`, broken)).status).toBe(400);
    expect(harness.ended("save")).toEqual({ client_error: 2 });
  });

  it("journals a context that cannot be made, for each call that wanted it", async () => {
    circumstances.contextFails = true;
    const client = batching();
    await Promise.allSettled([client.ok.query(), client.missing.query()]);
    expect(harness.ended("ok")).toEqual({ server_error: 1 });
    expect(harness.ended("missing")).toEqual({ server_error: 1 });
    expect(harness.journal.failures).toMatchObject([
      { affectedService: "trpc.ok", errorMessage: "no session store" },
      { affectedService: "trpc.missing", errorMessage: "no session store" },
    ]);
    expect(harness.sink.values("trpc.ok.duration")).toEqual([]);
  });

  it("counts a request that its client gave up as aborted", async () => {
    const controller = new AbortController();
    const call = single().hang.query(undefined, { signal: controller.signal });
    await new Promise((resolve) => server.once("request", resolve));
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    await expect(call).rejects.toThrow();
    await eventually(() => expect(harness.ended("hang")).toEqual({ aborted: 1 }));
    expect(harness.journal.entries).toEqual([]);
  });

  it("follows a streaming query to its end", async () => {
    const client = createTRPCClient<AppRouter>({ links: [httpBatchStreamLink({ url })] });
    const seen: number[] = [];
    for await (const value of await client.numbers.query()) {
      seen.push(value);
    }
    expect(seen).toEqual([1, 2]);
    await eventually(() => expect(harness.ended("numbers")).toEqual({ success: 1 }));
  });

  it("measures a subscription to its end and leaves tracked events as they are", async () => {
    const seen: unknown[] = [];
    await new Promise<void>((resolve, reject) => {
      const subscription = subscribing().ticks.subscribe(undefined, {
        onData: (event) => {
          seen.push(event);
        },
        onError: reject,
        onComplete: () => {
          subscription.unsubscribe();
          resolve();
        },
      });
    });
    expect(seen).toEqual([
      { id: "a", data: 1 },
      { id: "b", data: 2 },
    ]);
    await eventually(() => expect(harness.ended("ticks")).toEqual({ success: 1 }));
    expect(harness.sink.values("trpc.ticks.duration", { status: "success" })).toHaveLength(1);
  });

  it.each(["error", "string", "undefined", "client"] as const)(
    "counts a subscription whose stream fails with %s once, though the adapter reports it too",
    async (kind) => {
      await new Promise<void>((resolve) => {
        const subscription = subscribing().breaks.subscribe(kind, {
          onData: () => {},
          onError: () => resolve(),
          onConnectionStateChange: ({ error }) => {
            if (!error) return;
            subscription.unsubscribe();
            resolve();
          },
        });
      });
      await eventually(() => expect(reports.length).toBeGreaterThan(0));
      // A client may try again after a server's error: each attempt is a call with one failure and one report.
      const status = kind === "client" ? "client_error" : "server_error";
      await eventually(() => expect(harness.ended("breaks")).toEqual({ [status]: reports.length }));
      expect(harness.journal.failures).toHaveLength(kind === "client" ? 0 : reports.length);
    },
  );

  it.each(["forever", "deaf", "watched"] as const)("ends a subscription that its client leaves: %s", async (path) => {
    const procedure = subscribing()[path];
    const first = await new Promise((resolve) => {
      const subscription = procedure.subscribe(undefined, {
        onData: (value) => {
          subscription.unsubscribe();
          resolve(value);
        },
      });
    });
    expect(first).toBe(path);
    await eventually(() => expect(harness.ended(path)).toEqual({ aborted: 1 }));
    expect(harness.journal.entries).toEqual([]);
  });
});
