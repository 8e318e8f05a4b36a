import { describe, expect, it } from "vitest";
import { createAsyncCallContext } from "../../server/adapters/async-call-context.js";
import { ProcedureCall } from "../../server/instrumentation/procedure-call.js";
import { noCallContext } from "../../server/ports/call-context.js";

const callOf = (path: string) =>
  new ProcedureCall({ path, type: "query", signal: undefined, ctx: {} }, 0, { callContext: noCallContext });

describe("createAsyncCallContext", () => {
  it("passes through until it is enabled", () => {
    const context = createAsyncCallContext();
    expect(context.enabled).toBe(false);
    expect(context.run(callOf("a"), () => context.current())).toBeUndefined();
    context.enable();
    context.enable();
    expect(context.enabled).toBe(true);
    expect(context.run(callOf("a"), () => context.current()?.path)).toBe("a");
    expect(context.current()).toBeUndefined();
  });

  it("keeps calls that run at once apart, across everything they await", async () => {
    const context = createAsyncCallContext();
    context.enable();
    const paths = Array.from({ length: 50 }, (_, i) => `p${i}`);
    const seen = await Promise.all(
      paths.map((path) =>
        context.run(callOf(path), async () => {
          await new Promise((resolve) => setImmediate(resolve));
          await Promise.resolve();
          return context.current()?.path;
        }),
      ),
    );
    expect(seen).toEqual(paths);
  });

  it("nests, and two contexts do not know each other", () => {
    const one = createAsyncCallContext();
    const other = createAsyncCallContext();
    one.enable();
    other.enable();
    const paths = one.run(callOf("outer"), () => [
      one.run(callOf("inner"), () => one.current()?.path),
      one.current()?.path,
      other.current()?.path,
    ]);
    expect(paths).toEqual(["inner", "outer", undefined]);
  });

  it("gives back and throws what the function does", () => {
    const context = createAsyncCallContext();
    context.enable();
    const thrown = new Error("x");
    expect(() =>
      context.run(callOf("a"), () => {
        throw thrown;
      }),
    ).toThrow(thrown);
  });
});
