import { initTRPC, TRPCError } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { createInstrumentationMiddleware } from "../../server/instrumentation/instrumentation-middleware.js";
import { OperationTracker } from "../../server/instrumentation/operation-tracker.js";
import { createFakeClock } from "../support/fake-clock.js";
import { createRecordingSink } from "./support.js";

describe("OperationTracker", () => {
  it("records duration and success under the operation's name", async () => {
    const clock = createFakeClock();
    const sink = createRecordingSink();
    const tracker = new OperationTracker(sink, { clock });
    const operation = tracker.startOperation("reports.render", { format: "pdf" });
    await clock.advance(40);
    tracker.recordSuccess(operation);
    expect(operation.metadata).toEqual({ format: "pdf" });
    expect(sink.values("reports.render.duration", { status: "success" })).toEqual([40]);
    expect(sink.values("reports.render.success_count")).toEqual([1]);
    expect(sink.values("reports.render.failure_count")).toEqual([]);
  });

  it("records a failure with what the error tells, or with the category it is given", () => {
    const sink = createRecordingSink();
    const tracker = new OperationTracker(sink);
    const refused = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
    tracker.recordFailure(tracker.startOperation("sync"), refused);
    tracker.recordFailure(tracker.startOperation("sync"), "no idea", "rate_limit");
    expect(sink.values("sync.failure_count", { error_category: "connection_refused" })).toEqual([1]);
    expect(sink.values("sync.failure_count", { error_category: "rate_limit" })).toEqual([1]);
    expect(sink.values("sync.duration", { status: "server_error" })).toHaveLength(2);
  });

  it("counts an operation once, and ignores what is none", () => {
    const sink = createRecordingSink();
    const tracker = new OperationTracker(sink);
    const operation = tracker.startOperation("sync");
    tracker.recordSuccess(operation);
    tracker.recordSuccess(operation);
    tracker.recordFailure(operation, new Error("late"));
    tracker.recordAborted(operation);
    tracker.recordFailure(undefined as never, new Error("x"));
    expect(sink.sum("sync.success_count")).toBe(1);
    expect(sink.names()).toEqual(["sync.duration", "sync.success_count"]);
  });
});

describe("createInstrumentationMiddleware", () => {
  it("works with a sink and a tracker, or the sink alone", async () => {
    for (const withTracker of [true, false]) {
      const sink = createRecordingSink();
      const middleware = withTracker
        ? createInstrumentationMiddleware(sink, new OperationTracker(sink))
        : createInstrumentationMiddleware(sink);
      const t = initTRPC.create();
      const procedure = t.procedure.use(middleware);
      const thrown = new TRPCError({ code: "NOT_FOUND" });
      const caller = t.createCallerFactory(
        t.router({
          ok: procedure.query(() => 1),
          fail: procedure.query(() => {
            throw thrown;
          }),
          ticks: procedure.subscription(async function* () {
            yield 1;
            yield 2;
          }),
          cut: procedure.subscription(async function* () {
            yield 1;
            throw thrown;
          }),
        }),
      )({});
      expect(await caller.ok()).toBe(1);
      await expect(caller.fail()).rejects.toBe(thrown);
      const seen: number[] = [];
      for await (const tick of await caller.ticks()) {
        expect(sink.names()).not.toContain("trpc.ticks.duration");
        seen.push(tick);
      }
      const cut = (await caller.cut())[Symbol.asyncIterator]();
      await cut.next();
      await expect(cut.next()).rejects.toBe(thrown);
      const left = (await caller.ticks())[Symbol.asyncIterator]();
      await left.return?.();
      expect(seen).toEqual([1, 2]);
      expect(sink.sum("trpc.ok.success_count")).toBe(1);
      expect(sink.sum("trpc.fail.failure_count", { status: "client_error", error_type: "NOT_FOUND" })).toBe(1);
      expect(sink.sum("trpc.cut.failure_count", { status: "client_error" })).toBe(1);
      expect(sink.sum("trpc.ticks.success_count")).toBe(2);
    }
  });

  it("keeps a rejecting next and an aborted call what they are", async () => {
    const sink = createRecordingSink();
    const middleware = createInstrumentationMiddleware(sink);
    const thrown = new Error("x");
    const opts = { path: "p", type: "query", ctx: {} } as const;
    await expect(middleware({ ...opts, signal: undefined, next: () => Promise.reject(thrown) })).rejects.toBe(thrown);
    const aborted = AbortSignal.abort();
    const failed = { ok: false, error: thrown };
    expect(await middleware({ ...opts, signal: aborted, next: async () => failed })).toBe(failed);
    const stream = { ok: true, data: (async function* () {})() };
    await middleware({ ...opts, type: "subscription", signal: aborted, next: async () => stream });
    expect(sink.sum("trpc.p.failure_count", { status: "server_error" })).toBe(1);
    expect(sink.sum("trpc.p.failure_count", { status: "aborted" })).toBe(2);
  });
});
