import { runInNewContext } from "node:vm";
import { TRPCError } from "@trpc/server";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeError, trpcCodeOf } from "../../shared/describe-error.js";
import { processorMsOf } from "../support/processor-time.js";

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function throwingProxy(): object {
  const refuse = () => {
    throw new Error("trap");
  };
  return new Proxy(new Error("hidden"), { get: refuse, has: refuse, getPrototypeOf: refuse, ownKeys: refuse });
}

describe("describeError", () => {
  it("tells name, message, stack and code of an ordinary error", () => {
    const error = Object.assign(new TypeError("no such host"), { code: "ENOTFOUND" });
    expect(describeError(error)).toEqual({
      name: "TypeError",
      message: "no such host",
      stack: error.stack,
      code: "ENOTFOUND",
    });
  });

  it("keeps the tRPC code apart from the driver's code, which may be the cause's", () => {
    const cause = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
    expect(describeError(new TRPCError({ code: "BAD_GATEWAY", cause }))).toMatchObject({
      name: "TRPCError",
      message: "refused",
      code: "ECONNREFUSED",
      trpcCode: "BAD_GATEWAY",
    });
  });

  it("knows a subclass of TRPCError by the class it extends", () => {
    class Refused extends TRPCError {
      override readonly name = "Refused";
    }
    expect(trpcCodeOf(new Refused({ code: "CONFLICT" }))).toBe("CONFLICT");
    expect(trpcCodeOf(Object.assign(new Error("x"), { code: "CONFLICT" }))).toBeUndefined();
  });

  it.each([
    ["undefined", undefined, "undefined was thrown"],
    ["null", null, "null was thrown"],
    ["string", "out of paper", "out of paper"],
    ["string", "", "an empty string was thrown"],
    ["number", Number.NaN, "NaN was thrown"],
    ["bigint", 12n, "12 was thrown"],
    ["boolean", false, "false was thrown"],
    ["symbol", Symbol("lost"), "Symbol(lost) was thrown"],
    ["object", Object.create(null), "an object without a message was thrown"],
    ["object", revoked(), "an object without a message was thrown"],
    ["object", throwingProxy(), "an object without a message was thrown"],
  ])("names what is no error: %s", (name, thrown, message) => {
    expect(describeError(thrown)).toEqual({ name, message });
  });

  it("reads what it can of an error whose getters throw or give no text", () => {
    const error = Object.defineProperties(new Error("seen"), {
      stack: {
        get() {
          throw new Error("trap");
        },
      },
      code: { value: { toString: () => "x" } },
      name: { value: 42 },
    });
    expect(describeError(error)).toEqual({ name: "object", message: "seen" });
  });

  it("ends on cyclic causes", () => {
    const first = new Error("first");
    const second = new Error("second", { cause: first });
    Object.assign(first, { cause: second });
    expect(describeError(first).message).toBe("first");
  });

  it("understands errors of another realm and frozen ones", () => {
    expect(describeError(runInNewContext("new RangeError('far away')"))).toMatchObject({
      name: "RangeError",
      message: "far away",
    });
    expect(describeError(Object.freeze(new Error("cold"))).message).toBe("cold");
  });

  it("cuts a message of 10 MB before any pattern reads it", () => {
    const error = new Error("-".repeat(10_000_000));
    expect(processorMsOf(() => describeError(error))).toBeLessThan(200);
    const { message, stack } = describeError(error);
    expect(message).toHaveLength(1_000);
    expect(message.endsWith("…")).toBe(true);
    expect(stack?.length).toBeLessThanOrEqual(4_000);
  });

  it("drops NUL and lone surrogates, writes other control characters out and keeps lines", () => {
    expect(describeError(new Error("a\0b\ud800c\u001b[31md\r\ne\tf\u202e😀")).message).toBe(
      "abc\\x1b[31md\ne\tf\\u202e😀",
    );
  });

  it("cuts no surrogate pair in two", () => {
    expect(describeError("😀".repeat(2_000)).message).toBe(`${"😀".repeat(499)}…`);
  });

  it("takes secrets out of message and stack, also across the cut", () => {
    const error = new Error(`${"x".repeat(980)} sk-${"a".repeat(48)} hunter`);
    const { message, stack } = describeError(error);
    expect(`${message}${stack}`).not.toContain("aaaa");
    expect(describeError(new Error("postgres://app:hunter2@db.internal/main refused")).stack).not.toContain("hunter2");
  });

  it("never throws, stays in its bounds and changes nothing, whatever is thrown", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything({
            withNullPrototype: true,
            withBigInt: true,
            withDate: true,
            withMap: true,
            withSet: true,
            withTypedArray: true,
            withSparseArray: true,
            withObjectString: true,
            withBoxedValues: true,
            withUnicodeString: true,
            size: "medium",
          }),
          fc.record(
            {
              name: fc.anything(),
              message: fc.string({ unit: "binary", maxLength: 3_000, size: "max" }),
              stack: fc.string({ unit: "binary", maxLength: 9_000, size: "max" }),
              code: fc.anything(),
              cause: fc.anything(),
            },
            { requiredKeys: [] },
          ),
        ),
        (thrown) => {
          const described = describeError(thrown);
          expect(described.name.length).toBeLessThanOrEqual(100);
          expect(described.message.length).toBeLessThanOrEqual(1_000);
          expect(described.message).not.toBe("");
          expect(described.stack?.length ?? 0).toBeLessThanOrEqual(4_000);
          expect(Object.values(described).join(" ")).not.toMatch(/\0|\p{Cs}/u);
        },
      ),
    );
  });
});
