/** Instrumentation behind tRPC's WebSocket adapter and under its own client: calls, subscriptions, and connections that break. */
import { createTRPCClient, createTRPCUntypedClient, createWSClient, wsLink } from "@trpc/client";
import { initTRPC, TRPCError, tracked } from "@trpc/server";
import { applyWSSHandler } from "@trpc/server/adapters/ws";
import { observable } from "@trpc/server/observable";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { z } from "zod";
import { createHarness, type Harness } from "./support.js";

const circumstances = { contextFails: false };

function createAppRouter(harness: Harness) {
  const t = initTRPC.create();
  const procedure = t.procedure.use(harness.middleware);
  return t.router({
    ok: procedure.query(() => harness.callContext.current()?.path ?? "no call"),
    save: procedure.input(z.object({ id: z.number() })).mutation(({ input }) => input.id),
    fail: procedure.query(() => {
      throw new Error("broken");
    }),
    numbers: procedure.query(async function* () {
      yield 1;
    }),
    ticks: procedure.subscription(async function* () {
      yield tracked("a", 1);
      yield tracked("b", 2);
    }),
    breaks: procedure.input(z.enum(["server", "client"])).subscription(async function* ({ input }) {
      yield 1;
      throw input === "server" ? new Error("stream broken") : new TRPCError({ code: "FORBIDDEN" });
    }),
    forever: procedure.subscription(async function* ({ signal }) {
      yield harness.callContext.current()?.path ?? "no call";
      await new Promise((resolve) => signal?.addEventListener("abort", resolve));
    }),
    spiteful: procedure.subscription(async function* ({ signal }) {
      try {
        yield harness.callContext.current()?.path ?? "no call";
        await new Promise((resolve) => signal?.addEventListener("abort", resolve));
      } finally {
        await new Promise((resolve) => setImmediate(resolve));
        // biome-ignore lint/correctness/noUnsafeFinally: what a clean-up that fails does
        throw new Error("cannot clean up");
      }
    }),
    deaf: procedure.subscription(async function* () {
      yield harness.callContext.current()?.path ?? "no call";
      await new Promise(() => {});
    }),
    watched: procedure.input(z.enum(["stays", "fails"])).subscription(({ input }) =>
      observable<string>((observer) => {
        observer.next(harness.callContext.current()?.path ?? "no call");
        if (input === "fails") observer.error(new Error("broken"));
      }),
    ),
  });
}

type AppRouter = ReturnType<typeof createAppRouter>;

describe("instrumentation over WebSockets", () => {
  let harness: Harness;
  let server: WebSocketServer;
  let url: string;
  let reports: number;
  let connection: ReturnType<typeof createWSClient>;

  beforeEach(async () => {
    harness = createHarness();
    circumstances.contextFails = false;
    reports = 0;
    server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    applyWSSHandler({
      wss: server,
      router: createAppRouter(harness),
      createContext() {
        if (circumstances.contextFails) throw new Error("no session store");
        return {};
      },
      onError(report) {
        reports += 1;
        harness.onError(report);
      },
    });
    await new Promise((resolve) => server.once("listening", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    url = `ws://127.0.0.1:${address.port}`;
  });

  afterEach(async () => {
    await connection.close();
    for (const socket of server.clients) socket.terminate();
    await new Promise((resolve) => server.close(resolve));
    expect(harness.faults).toEqual([]);
  });

  const connect = () => {
    // The types of `ws` lack what browsers have besides; the client uses none of that.
    connection = createWSClient({ url, WebSocket: WebSocket as unknown as typeof globalThis.WebSocket });
    return createTRPCClient<AppRouter>({ links: [wsLink({ client: connection })] });
  };
  const eventually = (check: () => void) => vi.waitFor(check, { timeout: 30_000, interval: 5 });
  /** Subscribes, and resolves with the first event. */
  const firstOf = (path: "forever" | "deaf" | "spiteful", client = connect()) =>
    new Promise<{ readonly value: string; readonly unsubscribe: () => void }>((resolve, reject) => {
      const subscription = client[path].subscribe(undefined, {
        onData: (value) => resolve({ value, unsubscribe: () => subscription.unsubscribe() }),
        onError: reject,
      });
    });

  it("counts queries and mutations of one connection, each in its own call", async () => {
    const client = connect();
    const answers = await Promise.all([client.ok.query(), client.save.mutate({ id: 7 }), client.ok.query()]);
    expect(answers).toEqual(["ok", 7, "ok"]);
    expect(harness.ended("ok")).toEqual({ success: 2 });
    expect(harness.ended("save")).toEqual({ success: 1 });
  });

  it("counts a failed call once, though the adapter reports it too", async () => {
    await expect(connect().fail.query()).rejects.toThrow("broken");
    expect(reports).toBe(1);
    expect(harness.ended("fail")).toEqual({ server_error: 1 });
    expect(harness.journal.failures).toMatchObject([{ affectedService: "trpc.fail", errorMessage: "broken" }]);
  });

  it("counts what no middleware sees: refused input, a procedure that is not there", async () => {
    const client = connect();
    await expect(client.save.mutate({ id: JSON.parse('"x"') })).rejects.toThrow();
    expect(harness.ended("save")).toEqual({ client_error: 1 });
    const nope = createTRPCUntypedClient<AppRouter>({ links: [wsLink({ client: connection })] });
    await expect(nope.query("nope")).rejects.toThrow();
    expect(harness.ended("_OTHER")).toEqual({ client_error: 1 });
    expect(harness.journal.entries).toEqual([]);
  });

  it("counts a query once whose stream cannot be sent here", async () => {
    harness.start();
    await expect(connect().numbers.query()).rejects.toThrow("Cannot return an async iterable");
    expect(harness.ended("numbers")).toEqual({ client_error: 1 });
    await harness.stop();
    expect(harness.sink.values("trpc.numbers.in_flight").at(-1)).toBe(0);
  });

  it("measures a subscription to its end and leaves tracked events as they are", async () => {
    const seen: unknown[] = [];
    await new Promise<void>((resolve, reject) => {
      connect().ticks.subscribe(undefined, {
        onData: (event) => void seen.push(event),
        onError: reject,
        onComplete: resolve,
      });
    });
    expect(seen).toEqual([
      { id: "a", data: 1 },
      { id: "b", data: 2 },
    ]);
    await eventually(() => expect(harness.ended("ticks")).toEqual({ success: 1 }));
    expect(harness.sink.values("trpc.ticks.duration", { status: "success" })).toHaveLength(1);
  });

  it.each([
    ["server", "server_error", 1],
    ["client", "client_error", 0],
  ] as const)("counts a subscription that breaks by the %s's fault once, as %s", async (fault, status, failures) => {
    const error = await new Promise((resolve) => {
      connect().breaks.subscribe(fault, { onError: resolve, onComplete: () => resolve(undefined) });
    });
    expect(error).toBeInstanceOf(Error);
    await eventually(() => expect(harness.ended("breaks")).toEqual({ [status]: 1 }));
    expect(harness.journal.failures).toHaveLength(failures);
  });

  it.each(["forever", "deaf"] as const)("ends a subscription that its client leaves: %s", async (path) => {
    const { value, unsubscribe } = await firstOf(path);
    unsubscribe();
    expect(value).toBe(path);
    await eventually(() => expect(harness.ended(path)).toEqual({ aborted: 1 }));
    expect(harness.journal.entries).toEqual([]);
  });

  it("counts one that its client leaves and whose clean-up fails once", async () => {
    const { unsubscribe } = await firstOf("spiteful");
    unsubscribe();
    await eventually(() => expect(reports).toBe(1));
    expect(harness.ended("spiteful")).toEqual({ aborted: 1 });
  });

  it.each(["forever", "deaf"] as const)("ends a subscription whose connection breaks: %s", async (path) => {
    const { value } = await firstOf(path);
    expect(value).toBe(path);
    // Its client would come back at once, which is a call of its own.
    server.on("connection", (socket) => socket.terminate());
    for (const socket of server.clients) socket.terminate();
    await eventually(() => expect(harness.ended(path)).toEqual({ aborted: 1 }));
    expect(harness.journal.entries).toEqual([]);
  });

  it("follows an observable to its error, and to the client that leaves it", async () => {
    const client = connect();
    const error = await new Promise((resolve) => {
      client.watched.subscribe("fails", { onError: resolve });
    });
    expect(error).toBeInstanceOf(Error);
    const value = await new Promise((resolve) => {
      const subscription = client.watched.subscribe("stays", {
        onData(path) {
          subscription.unsubscribe();
          resolve(path);
        },
      });
    });
    expect(value).toBe("watched");
    await eventually(() => expect(harness.ended("watched")).toEqual({ server_error: 1, aborted: 1 }));
    expect(harness.journal.failures).toHaveLength(1);
  });

  it("journals a context that cannot be made", async () => {
    circumstances.contextFails = true;
    const call = connect().ok.query();
    call.catch(() => {});
    await eventually(() => expect(reports).toBeGreaterThan(0));
    await eventually(() => expect(harness.journal.failures[0]).toMatchObject({ errorMessage: "no session store" }));
  });
});
