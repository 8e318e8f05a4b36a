/** What an error means to a circuit that nobody told better, and what becomes of functions that say it wrongly. */
import { TRPCError } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { CircuitBreakerError } from "../../server/circuit/circuit-breaker-error.js";
import { type Judgement, judge, verdictOfError } from "../../server/circuit/verdict.js";

const unreadable = new Proxy(new Error("hidden"), {
  get() {
    throw new TypeError("nobody reads this");
  },
});

describe("the verdict of an error", () => {
  it.each([
    ["an error", new Error("down")],
    ["no error", undefined],
    ["null", null],
    ["a text", "down"],
    ["an object without a name", {}],
    ["a server's error", new TRPCError({ code: "INTERNAL_SERVER_ERROR" })],
    ["a timeout", new TRPCError({ code: "TIMEOUT" })],
    ["a code that is no tRPC error's", Object.assign(new Error("taken"), { code: "CONFLICT" })],
    ["a tRPC error without a code", Object.assign(new Error("odd"), { name: "TRPCError" })],
    ["a tRPC error whose code is no text", Object.assign(new Error("odd"), { name: "TRPCError", code: 404 })],
    ["what cannot be read", unreadable],
  ])("is a failure for %s", (_what, error) => {
    expect(verdictOfError(error)).toBe("failure");
  });

  it.each([
    ["a client's error", new TRPCError({ code: "NOT_FOUND" })],
    ["a caller who closed the request", new TRPCError({ code: "CLIENT_CLOSED_REQUEST" })],
    ["an abort", new DOMException("gone", "AbortError")],
    ["what another circuit refused", new CircuitBreakerError({ circuitName: "other", retryAfterMs: 1 })],
  ])("is ignored for %s", (_what, error) => {
    expect(verdictOfError(error)).toBe("ignored");
  });
});

describe("a judgement", () => {
  const judged = (say: (subject: string) => Judgement) => {
    const faults: unknown[] = [];
    return { judgement: judge(say, "subject", "failure", (fault) => faults.push(fault)), faults };
  };

  it("of an error is a failure, unless it is tRPC's own and a client's, also where it cannot be read", () => {
    const unreadable = {
      get name() {
        throw new Error("no");
      },
    };
    const errors = [
      new TRPCError({ code: "NOT_FOUND" }),
      new TRPCError({ code: "INTERNAL_SERVER_ERROR" }),
      { name: "Error", code: "NOT_FOUND" },
      unreadable,
    ];
    expect(errors.map(verdictOfError)).toEqual(["ignored", "failure", "failure", "failure"]);
  });

  it("is what was said, alone or with a wait", () => {
    expect(judged(() => "ignored")).toEqual({ judgement: { verdict: "ignored" }, faults: [] });
    const wait = { verdict: "failure", openForMs: 5 } as const;
    expect(judged(() => wait)).toEqual({ judgement: wait, faults: [] });
  });

  it("is the other one, and a fault, where nothing could be said or it is no verdict", () => {
    const fault = new Error("broken");
    const thrown = judged(() => {
      throw fault;
    });
    expect(thrown).toEqual({ judgement: { verdict: "failure" }, faults: [fault] });
    // What a user without types may write.
    const { judgement, faults } = judged(() => JSON.parse('"fine"'));
    expect(judgement).toEqual({ verdict: "failure" });
    expect(faults).toEqual([new TypeError("a circuit's verdict is one of failure, success, ignored, got fine")]);
  });
});
