import { createTRPCClient, httpBatchLink } from "@trpc/client";
import { initTRPC, experimental_lazy as lazy, TRPCError } from "@trpc/server";
import { createHTTPServer } from "@trpc/server/adapters/standalone";
import superjson from "superjson";
import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { createFakeClock } from "../support/fake-clock.js";
import { createHarness } from "./support.js";

interface Context {
  readonly user?: string;
}

const t = initTRPC.context<Context>().create({ transformer: superjson });

function routerOf() {
  return t.router({
    ok: t.procedure.query(() => 1),
    create: t.procedure.input(z.object({ name: z.string() })).mutation(({ input }) => input.name),
    users: t.router({
      missing: t.procedure.query((): string => {
        throw new TRPCError({ code: "NOT_FOUND" });
      }),
      broken: t.procedure.query((): string => {
        throw new Error("boom");
      }),
    }),
    ticks: t.procedure.subscription(async function* () {
      yield 1;
      yield 2;
    }),
  });
}

describe("instrument(router)", () => {
  it("gives back a router of the type it got and leaves that one as it was", async () => {
    const harness = createHarness();
    const router = routerOf();
    const instrumented = harness.instrument(router);
    expectTypeOf(instrumented).toEqualTypeOf(router);
    expect(instrumented).not.toBe(router);
    expect(instrumented._def._config).toBe(router._def._config);
    expect(Object.keys(instrumented._def.procedures)).toEqual(Object.keys(router._def.procedures));
    expect(instrumented.ok._def).toBe(router.ok._def);
    expect(await t.createCallerFactory(router)({}).ok()).toBe(1);
    expect(harness.ended("ok")).toEqual({});
  });

  it("counts and measures calls by path and outcome, however deep they lie and however they are called", async () => {
    const clock = createFakeClock();
    const harness = createHarness({ clock });
    const slow = t.router({
      a: { b: t.procedure.query(() => clock.advance(25)) },
    });
    await t.createCallerFactory(harness.instrument(slow))({}).a.b();
    await harness.instrument(slow).createCaller({}).a.b();
    expect(harness.sink.values("trpc.a.b.duration", { status: "success" })).toEqual([25, 25]);
    const caller = t.createCallerFactory(harness.instrument(routerOf()))({});
    await expect(caller.users.missing()).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(caller.users.broken()).rejects.toMatchObject({ message: "boom" });
    expect(harness.ended("users.missing")).toEqual({ client_error: 1 });
    expect(harness.ended("users.broken")).toEqual({ server_error: 1 });
    expect(harness.journal.failures.map((failure) => failure.affectedService)).toEqual(["trpc.users.broken"]);
    expect(harness.faults).toEqual([]);
  });

  it("throws the very error that the procedure threw", async () => {
    const harness = createHarness();
    const thrown = new TRPCError({ code: "CONFLICT" });
    const router = t.router({
      fail: t.procedure.query(() => {
        throw thrown;
      }),
    });
    await expect(harness.instrument(router).createCaller({}).fail()).rejects.toBe(thrown);
  });

  it("sees input that the procedure refuses, and onError does not count it again", async () => {
    const harness = createHarness();
    const server = createHTTPServer({ router: harness.instrument(routerOf()), onError: harness.onError });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
    const client = createTRPCClient<ReturnType<typeof routerOf>>({
      links: [httpBatchLink({ url, transformer: superjson })],
    });
    try {
      expect(await client.create.mutate({ name: "ann" })).toBe("ann");
      // @ts-expect-error the input's type is checked as before
      await expect(client.create.mutate({ name: 1 })).rejects.toMatchObject({ data: { code: "BAD_REQUEST" } });
      await expect(client.users.broken.query()).rejects.toMatchObject({ message: "boom" });
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    expect(harness.ended("create")).toEqual({ success: 1, client_error: 1 });
    expect(harness.sink.values("trpc.create.duration", { status: "client_error" })).toHaveLength(1);
    expect(harness.ended("users.broken")).toEqual({ server_error: 1 });
    expect(harness.journal.failures).toHaveLength(1);
  });

  it("measures lazy routers once they load, nested ones too", async () => {
    const harness = createHarness();
    const loaded: string[] = [];
    const inner = t.router({ leaf: t.procedure.query(() => "leaf") });
    const outer = t.router({
      eager: t.procedure.query(() => "eager"),
      inner: lazy(async () => {
        loaded.push("inner");
        return inner;
      }),
    });
    const app = t.router({
      group: {
        outer: lazy(async () => {
          loaded.push("outer");
          return { outer };
        }),
      },
    });
    const caller = t.createCallerFactory(harness.instrument(app))({});
    expect(loaded).toEqual([]);
    expect(await caller.group.outer.eager()).toBe("eager");
    expect(loaded).toEqual(["outer"]);
    expect(await caller.group.outer.inner.leaf()).toBe("leaf");
    expect(await caller.group.outer.inner.leaf()).toBe("leaf");
    expect(loaded).toEqual(["outer", "inner"]);
    expect(harness.ended("group.outer.eager")).toEqual({ success: 1 });
    expect(harness.ended("group.outer.inner.leaf")).toEqual({ success: 2 });
  });

  it("counts nothing twice: neither where the middleware is, nor when it instruments again, nor when routers nest", async () => {
    const harness = createHarness();
    const procedure = t.procedure.input(z.string().optional()).use(harness.middleware);
    const inner = harness.instrument(t.router({ both: procedure.query(() => 1), plain: t.procedure.query(() => 1) }));
    const caller = t.createCallerFactory(harness.instrument(t.router({ inner })))({});
    await caller.inner.both();
    await caller.inner.plain();
    expect(harness.ended("inner.both")).toEqual({ success: 1 });
    expect(harness.ended("inner.plain")).toEqual({ success: 1 });
  });

  it("runs each call, and each step of a stream, in its own context", async () => {
    const harness = createHarness({ identify: () => ({ userId: "ann" }) });
    const seen: (string | undefined)[] = [];
    const look = () => {
      const call = harness.callContext.current();
      seen.push(`${call?.path} ${call?.type} ${call?.userId}`);
      return 1;
    };
    const router = t.router({
      ask: t.procedure.query(look),
      stream: t.procedure.subscription(async function* () {
        yield look();
        yield look();
      }),
    });
    const caller = harness.instrument(router).createCaller({});
    await caller.ask();
    for await (const _step of await caller.stream()) expect(harness.ended("stream")).toEqual({});
    expect(seen).toEqual(["ask query ann", "stream subscription ann", "stream subscription ann"]);
    expect(harness.ended("stream")).toEqual({ success: 1 });
  });

  it("counts a call whose client has left as aborted", async () => {
    const harness = createHarness();
    const caller = harness.instrument(routerOf()).createCaller({}, { signal: AbortSignal.abort() });
    await expect(caller.users.broken()).rejects.toThrow();
    expect(harness.ended("users.broken")).toEqual({ aborted: 1 });
  });

  it("leaves tRPC's own refusal of a call by hand as it is", async () => {
    const harness = createHarness();
    const { ok } = harness.instrument(routerOf())._def.procedures;
    await expect(Reflect.apply(ok, undefined, [undefined])).rejects.toThrow("client-only function");
    expect(harness.ended("ok")).toEqual({});
  });
});
