import { TRPCError } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { createOnError } from "../../server/instrumentation/on-error.js";
import { createSeenErrors } from "../../server/instrumentation/seen-errors.js";
import { createFakeClock } from "../support/fake-clock.js";
import { createHarness } from "./support.js";

const internal = (cause?: unknown) => new TRPCError({ code: "INTERNAL_SERVER_ERROR", cause });

describe("onError", () => {
  it("counts what no middleware saw, and journals it where the service failed", () => {
    const { onError, ended, journal } = createHarness();
    onError({ error: new TRPCError({ code: "BAD_REQUEST" }), type: "query", path: "a.b" });
    onError({ error: internal(new Error("no session store")), type: "mutation", path: "a.b", ctx: undefined });
    expect(ended("a.b")).toEqual({ client_error: 1, server_error: 1 });
    expect(journal.failures).toMatchObject([{ affectedService: "trpc.a.b", errorMessage: "no session store" }]);
  });

  it("believes no path of an unknown procedure, whichever adapter reports it", () => {
    const { onError, ended } = createHarness();
    const error = () => new TRPCError({ code: "NOT_FOUND", message: 'No "query"-procedure on path "x"' });
    onError({ error: error(), type: "unknown", path: "x" });
    onError({ error: error(), type: "query", path: "x" });
    onError({ error: error(), type: "query", path: undefined });
    onError({ error: internal(), type: "query", path: "x".repeat(257) });
    expect(ended("_OTHER")).toEqual({ client_error: 3, server_error: 1 });
    expect(ended("x")).toEqual({});
  });

  it("believes a bounded number of paths that only clients have named", () => {
    const { onError, ended, sink } = createHarness();
    for (let i = 0; i < 1_500; i += 1) onError({ error: internal(), type: "query", path: `p${i}` });
    onError({ error: internal(), type: "query", path: "p0" });
    expect(ended("_OTHER")).toEqual({ server_error: 500 });
    expect(ended("p0")).toEqual({ server_error: 2 });
    expect(new Set(sink.descriptors.map(({ source }) => source)).size).toBe(1_001);
  });

  it("skips what the middleware has counted, wrapped or not", async () => {
    const { onError, middleware, ended } = createHarness();
    const error = internal();
    const opts = { path: "p", type: "query", ctx: {}, signal: undefined } as const;
    await middleware({ ...opts, next: async () => ({ ok: false, error }) });
    onError({ error, type: "query", path: "p" });
    onError({ error: internal(error), type: "query", path: "p" });
    expect(ended("p")).toEqual({ server_error: 1 });
    onError({ error: internal(), type: "query", path: "p" });
    expect(ended("p")).toEqual({ server_error: 2 });
  });

  it("never throws, whatever it is given", () => {
    const faults: unknown[] = [];
    const { onError, ended } = createHarness();
    for (const error of [undefined, null, "x", 1n, Symbol("x"), Object.create(null), Object.freeze(internal())]) {
      onError({ error, type: "query", path: "p" });
    }
    expect(ended("p")).toEqual({ server_error: 7 });
    const broken = createOnError({
      recorder: {
        streamed() {},
        streamEnded() {},
        failedLate() {},
        failed() {},
        reported() {
          throw new Error("ours");
        },
        seen: { has: () => false },
        unread: { watch: () => () => {} },
      },
      onFault: (fault) => void faults.push(fault),
    });
    broken({ error: internal(), type: "query", path: "p" });
    broken(undefined as never);
    expect(faults).toHaveLength(2);
  });
});

describe("createSeenErrors", () => {
  it("expects one report for what is no error, of the same path and soon", async () => {
    const clock = createFakeClock();
    const seen = createSeenErrors(clock);
    seen.add("thrown", "p");
    expect(seen.has(internal("thrown"), "other")).toBe(false);
    expect(seen.has(new TRPCError({ code: "BAD_REQUEST" }), "p")).toBe(false);
    expect(seen.has(internal("thrown"), "p")).toBe(true);
    expect(seen.has(internal("thrown"), "p")).toBe(false);
    seen.add(undefined, "p");
    await clock.advance(1_001);
    expect(seen.has(internal(), "p")).toBe(false);
    for (let i = 0; i < 10_000; i += 1) seen.add(undefined, `p${i}`);
    expect(seen.has(internal(), "p0")).toBe(false);
    expect(seen.has(internal(), "p9999")).toBe(true);
    expect(seen.has(internal(), undefined)).toBe(true);
  });

  it("ends on cyclic causes", () => {
    const seen = createSeenErrors(createFakeClock());
    const error = new Error("x");
    Object.assign(error, { cause: error });
    expect(seen.has(error, "p")).toBe(false);
  });
});
