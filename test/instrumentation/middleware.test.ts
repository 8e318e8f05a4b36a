import { initTRPC, TRPCError } from "@trpc/server";
import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { createInFlight } from "../../server/instrumentation/in-flight.js";
import { createMiddleware } from "../../server/instrumentation/middleware.js";
import { noCallContext } from "../../server/ports/call-context.js";
import { systemClock } from "../../server/ports/clock.js";
import { REJECTION } from "../../shared/rejection.js";
import { createFakeClock, settle } from "../support/fake-clock.js";
import { createHarness, type Harness } from "./support.js";

interface Context {
  user?: { id: string };
}
interface Meta {
  audited?: boolean;
}

function setUp(harness: Harness) {
  const t = initTRPC.context<Context>().meta<Meta>().create();
  return { t, procedure: t.procedure.use(harness.middleware) };
}

/** A procedure that throws what it is told to, and how a caller sees it behind an empty middleware and behind ours. */
async function failWith(thrown: unknown, harness = createHarness()) {
  const { t, procedure } = setUp(harness);
  const fail = () => {
    throw thrown;
  };
  const passThrough = t.procedure.use(({ next }) => next());
  const router = t.router({ plain: passThrough.query(fail), fail: procedure.query(fail) });
  const caller = t.createCallerFactory(router)({});
  const plain = await caller.plain().catch((error: unknown) => error);
  const observed = await caller.fail().catch((error: unknown) => error);
  return { harness, plain, observed };
}

describe("middleware", () => {
  it("counts and measures a call that succeeds, and journals nothing", async () => {
    const clock = createFakeClock();
    const harness = createHarness({ clock });
    const { t, procedure } = setUp(harness);
    const router = t.router({
      users: t.router({
        list: procedure.query(async () => {
          await clock.advance(25);
          return ["ann"];
        }),
      }),
    });
    expect(await t.createCallerFactory(router)({}).users.list()).toEqual(["ann"]);
    expect(harness.sink.values("trpc.users.list.duration", { status: "success" })).toEqual([25]);
    expect(harness.ended("users.list")).toEqual({ success: 1 });
    expect(harness.journal.entries).toEqual([]);
    expect(harness.sink.descriptors[0]).toEqual({
      metricType: "operation",
      metricName: "trpc.users.list.duration",
      kind: "histogram",
      unit: "ms",
      source: "trpc.users.list",
      tags: { status: "success" },
    });
  });

  it("resolves each series once, however many calls there are", async () => {
    const harness = createHarness();
    const { t, procedure } = setUp(harness);
    const caller = t.createCallerFactory(t.router({ ok: procedure.query(() => 1) }))({});
    for (let i = 0; i < 50; i += 1) await caller.ok();
    expect(harness.ended("ok")).toEqual({ success: 50 });
    expect(harness.sink.descriptors).toHaveLength(2);
  });

  it("gives back the very result object that next gave", async () => {
    const harness = createHarness();
    const results = [
      { ok: true, data: 1, marker: "m" },
      { ok: true, data: undefined },
      { ok: false, error: new TRPCError({ code: "CONFLICT" }) },
      undefined,
      null,
      "rubbish",
      {},
    ];
    for (const result of results) {
      const opts = { path: "p", type: "query", ctx: {}, signal: undefined } as const;
      expect(await harness.middleware({ ...opts, next: async () => result })).toBe(result);
    }
    expect(harness.ended("p")).toEqual({ success: 2, client_error: 1 });
  });

  it("copies the result of a stream instead of changing it, and keeps all else that is in it", async () => {
    const harness = createHarness();
    const result = Object.freeze({ ok: true, data: (async function* () {})(), marker: "m", ctx: { user: "ann" } });
    const opts = { path: "p", type: "subscription", ctx: {}, signal: undefined } as const;
    const observed = await harness.middleware({ ...opts, next: async () => result });
    expect(observed).not.toBe(result);
    expect(observed).toEqual({ ...result, data: observed.data });
    expect(harness.ended("p")).toEqual({});
    expect(harness.faults).toEqual([]);
    expect(await observed.data.next()).toEqual({ value: undefined, done: true });
    expect(harness.ended("p")).toEqual({ success: 1 });
  });

  it("throws the very error that next threw, and counts it", async () => {
    const harness = createHarness();
    const thrown = Object.freeze(new Error("from another middleware"));
    const opts = { path: "p", type: "query", ctx: {}, signal: undefined } as const;
    const next = () => Promise.reject(thrown);
    await expect(harness.middleware({ ...opts, next })).rejects.toBe(thrown);
    expect(harness.ended("p")).toEqual({ server_error: 1 });
  });

  it("makes a failure event of a server error", async () => {
    const harness = createHarness({ identify: () => ({ userId: "u1", requestId: "r1" }) });
    const thrown = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:1"), { code: "ECONNREFUSED" });
    const { observed } = await failWith(thrown, harness);
    expect(observed).toMatchObject({ cause: thrown });
    expect(harness.ended("fail")).toEqual({ server_error: 1 });
    expect(
      harness.sink.values("trpc.fail.duration", {
        status: "server_error",
        error_type: "connection_refused",
        error_category: "connection_refused",
      }),
    ).toHaveLength(1);
    expect(harness.journal.entries).toMatchObject([
      {
        type: "failure.observed",
        rescued: false,
        failure: {
          eventId: "event-1",
          failureCategory: "internal_service",
          failureType: "procedure_error",
          severity: "medium",
          affectedService: "trpc.fail",
          errorMessage: "connect ECONNREFUSED 127.0.0.1:1",
          detectionMethod: "exception",
          userId: "u1",
          requestId: "r1",
          context: {
            path: "fail",
            type: "query",
            causes: [],
            errorCode: "ECONNREFUSED",
            trpcCode: "INTERNAL_SERVER_ERROR",
          },
        },
      },
    ]);
  });

  it.each(["TIMEOUT", "GATEWAY_TIMEOUT"] as const)("tells a timeout by its code %s", async (code) => {
    const { harness } = await failWith(new TRPCError({ code }));
    expect(harness.ended("fail")).toEqual({ timeout: 1 });
    expect(harness.journal.failures).toMatchObject([{ failureType: "procedure_timeout" }]);
    expect(harness.sink.values("trpc.fail.failure_count", { error_category: "timeout" })).toEqual([1]);
  });

  it.each(["BAD_REQUEST", "UNAUTHORIZED", "NOT_FOUND", "TOO_MANY_REQUESTS"] as const)(
    "counts the client's error %s without a failure event",
    async (code) => {
      const { harness } = await failWith(new TRPCError({ code }));
      expect(harness.ended("fail")).toEqual({ client_error: 1 });
      expect(harness.sink.values("trpc.fail.failure_count", { error_type: code })).toEqual([1]);
      expect(harness.journal.entries).toEqual([]);
    },
  );

  it("counts what a guard refused as rejected, wrapped or not, without a failure event", async () => {
    const refusal = Object.assign(new TRPCError({ code: "SERVICE_UNAVAILABLE" }), { [REJECTION]: true });
    const { harness } = await failWith(refusal);
    // tRPC wraps this one once more.
    await failWith(new Error("no answer", { cause: refusal }), harness);
    const wrapped = new TRPCError({ code: "INTERNAL_SERVER_ERROR", cause: refusal });
    await failWith(wrapped, harness);
    expect(harness.ended("fail")).toEqual({ rejected: 3 });
    expect(harness.journal.entries).toEqual([]);
  });

  it("counts a call whose client left as aborted, whatever it failed with", async () => {
    const harness = createHarness();
    const { t, procedure } = setUp(harness);
    const router = t.router({
      slow: procedure.query(
        ({ signal }) =>
          new Promise((_resolve, reject) => {
            signal?.addEventListener("abort", () => reject(new Error("stopped")));
          }),
      ),
    });
    const controller = new AbortController();
    const call = t.createCallerFactory(router)({}, { signal: controller.signal }).slow();
    await settle();
    controller.abort();
    await expect(call).rejects.toThrow("stopped");
    expect(harness.ended("slow")).toEqual({ aborted: 1 });
    expect(harness.journal.entries).toEqual([]);
  });

  const trap = () => {
    throw new Error("trap");
  };
  const hostile: [string, () => unknown][] = [
    ["undefined", () => undefined],
    ["null", () => null],
    ["a string", () => "out of paper"],
    ["a symbol", () => Symbol("lost")],
    ["a bigint", () => 12n],
    ["a function", () => trap],
    ["an object without a prototype", () => Object.create(null)],
    ["a frozen error", () => Object.freeze(new Error("cold"))],
    ["an error of 10 MB", () => new Error("x".repeat(10_000_000))],
    [
      "an error whose getters throw",
      () =>
        Object.defineProperties(new Error("x"), { message: { get: trap }, code: { get: trap }, name: { get: trap } }),
    ],
    ["an error with cyclic causes", () => Object.assign(new Error("a"), { cause: new Error("b") })],
    [
      "a proxy that refuses everything",
      () => new Proxy(new Error("x"), { get: trap, has: trap, getPrototypeOf: trap }),
    ],
    [
      "a revoked proxy",
      () => {
        const { proxy, revoke } = Proxy.revocable({}, {});
        revoke();
        return proxy;
      },
    ],
  ];
  it.each(hostile)("leaves the caller's error as it is when %s is thrown", async (_name, make) => {
    const thrown = make();
    const { harness, plain, observed } = await failWith(thrown);
    expect(harness.ended("fail")).toEqual({ server_error: 1 });
    expect(harness.journal.failures).toHaveLength(1);
    expect(harness.faults).toEqual([]);
    const looks = (error: unknown) => {
      try {
        return error instanceof Error ? [error.name, error.message.slice(0, 100)] : typeof error;
      } catch {
        return "unreadable";
      }
    };
    expect(looks(observed)).toEqual(looks(plain));
    const carries = (error: unknown) => error === thrown || (error instanceof Error && error.cause === thrown);
    expect(carries(observed)).toBe(carries(plain));
  });

  it("keeps the reference of a TRPCError", async () => {
    const thrown = Object.freeze(new TRPCError({ code: "BAD_GATEWAY", message: "no route" }));
    const { harness, observed } = await failWith(thrown);
    expect(observed).toBe(thrown);
    expect(harness.sink.values("trpc.fail.failure_count", { error_category: "trpc_error" })).toHaveLength(1);
  });

  it("sees an error behind it and one of a middleware behind it, but not one before it", async () => {
    const harness = createHarness();
    const { t, procedure } = setUp(harness);
    const fail = t.middleware(() => {
      throw new TRPCError({ code: "FORBIDDEN" });
    });
    const router = t.router({
      behind: procedure.use(fail).query(() => 1),
      before: t.procedure
        .use(fail)
        .use(harness.middleware)
        .query(() => 1),
      input: procedure.input(z.string()).query(() => 1),
      output: procedure.output(z.string()).query(() => "x"),
    });
    const caller = t.createCallerFactory(router)({});
    await caller.behind().catch(() => {});
    await caller.before().catch(() => {});
    await (caller.input as (input: unknown) => Promise<unknown>)(1).catch(() => {});
    await caller.output();
    expect(harness.ended("behind")).toEqual({ client_error: 1 });
    expect(harness.ended("before")).toEqual({});
    expect(harness.ended("input")).toEqual({ client_error: 1 });
    expect(harness.ended("output")).toEqual({ success: 1 });
  });

  it("names the call to guards below it, also across awaits, and only while linking is on", async () => {
    for (const linked of [true, false]) {
      const harness = createHarness({ linked, identify: (ctx) => ({ userId: (ctx as Context).user?.id }) });
      const { t, procedure } = setUp(harness);
      const router = t.router({
        who: procedure.mutation(async () => {
          await Promise.resolve();
          const call = harness.callContext.current();
          return call && [call.path, call.type, call.userId];
        }),
      });
      const seen = await t
        .createCallerFactory(router)({ user: { id: "ann" } })
        .who();
      expect(seen).toEqual(linked ? ["who", "mutation", "ann"] : undefined);
    }
  });

  it("points a failure at what guards saw in the same call, and at the failed call inside it", async () => {
    const harness = createHarness();
    const { t, procedure } = setUp(harness);
    const inner = t.router({
      inner: procedure.query(() => {
        harness.callContext.current()?.causes.push("guard-1");
        throw new Error("inner");
      }),
    });
    const router = t.router({
      outer: procedure.query(() => t.createCallerFactory(inner)({}).inner()),
    });
    await t
      .createCallerFactory(router)({})
      .outer()
      .catch(() => {});
    expect(harness.journal.failures.map((failure) => [failure.eventId, failure.context?.causes])).toEqual([
      ["event-1", ["guard-1"]],
      ["event-2", ["event-1"]],
    ]);
  });

  it("survives an identify that throws or gives rubbish", async () => {
    for (const identify of [trap, () => ({ userId: { toString: trap } as unknown as string })]) {
      const { harness } = await failWith(new Error("x"), createHarness({ identify }));
      expect(harness.journal.failures).toMatchObject([{ userId: undefined }]);
      expect(harness.faults).toEqual([]);
    }
  });

  it("reports its own fault and lets the call be", async () => {
    const harness = createHarness();
    const broken: Harness = {
      ...harness,
      middleware: createMiddleware({
        recorder: {
          failed() {},
          reported() {},
          streamed() {},
          streamEnded() {},
          failedLate() {},
          seen: { has: () => false },
          unread: { watch: () => () => {} },
        },
        inFlight: createInFlight(harness.sink, () => ({ succeeded: trap, failed() {} })),
        callContext: noCallContext,
        clock: systemClock,
        onFault: (fault) => void harness.faults.push(fault),
      }),
    };
    const { t, procedure } = setUp(broken);
    expect(
      await t
        .createCallerFactory(t.router({ ok: procedure.query(() => 7) }))({})
        .ok(),
    ).toBe(7);
    expect(harness.faults).toHaveLength(1);
  });

  it("keeps the types of ctx, meta and input, at every place of a chain", () => {
    const harness = createHarness();
    const { t } = setUp(harness);
    const authed = t.middleware(({ ctx, next }) => {
      if (!ctx.user) throw new TRPCError({ code: "UNAUTHORIZED" });
      return next({ ctx: { user: ctx.user } });
    });
    const plain = t.procedure.query(({ ctx, input }) => ({ ctx, input }));
    const observed = t.procedure.use(harness.middleware).query(({ ctx, input }) => ({ ctx, input }));
    expectTypeOf(observed).toEqualTypeOf(plain);
    t.procedure
      .use(authed)
      .input(z.object({ id: z.number() }))
      .use(harness.middleware)
      .query(({ ctx, input }) => {
        expectTypeOf(ctx.user).toEqualTypeOf<{ id: string }>();
        expectTypeOf(input).toEqualTypeOf<{ id: number }>();
      });
    t.procedure
      .meta({ audited: true })
      .use(harness.middleware)
      .use(authed)
      .use(({ meta, next }) => {
        expectTypeOf(meta).toEqualTypeOf<Meta | undefined>();
        return next();
      });
    // @ts-expect-error unknown properties of ctx stay errors
    t.procedure.use(harness.middleware).query(({ ctx }) => ctx.missing);
    expectTypeOf(t.middleware(harness.middleware)).toHaveProperty("unstable_pipe");
  });
});
