import { initTRPC } from "@trpc/server";
import { describe, expect, it } from "vitest";
import type { CallInfo } from "../../server/ports/call-context.js";
import { createFakeClock } from "../support/fake-clock.js";
import { createHarness } from "./support.js";

interface Meta {
  readonly paramedic?: unknown;
}
interface Context {
  readonly waitMs?: number;
}

const clock = createFakeClock();
const harness = createHarness({
  clock,
  identify: (ctx) =>
    typeof ctx === "object" && ctx !== null && "waitMs" in ctx ? { timeoutMs: Number(ctx.waitMs) } : {},
});
const t = initTRPC.context<Context>().meta<Meta>().create();

/** What a guard below a procedure with this meta sees, through the middleware or through the router. */
async function seenBelow(
  meta: Meta,
  ctx: Context,
  way: "middleware" | "router",
): Promise<Partial<CallInfo> | undefined> {
  const measured = way === "middleware" ? t.procedure.use(harness.middleware) : t.procedure;
  const router = t.router({
    ask: measured.meta(meta).mutation(() => {
      const call = harness.callContext.current();
      return { deadlineAt: call?.deadlineAt, idempotent: call?.idempotent };
    }),
  });
  return t
    .createCallerFactory(way === "router" ? harness.instrument(router) : router)(ctx)
    .ask();
}

describe.each(["middleware", "router"] as const)("the call of a procedure, through the %s", (way) => {
  it("has the deadline that its procedure states", async () => {
    const seen = await seenBelow({ paramedic: { timeoutMs: 5_000 } }, {}, way);
    expect(seen?.deadlineAt).toBe(clock.monotonic() + 5_000);
  });

  it("has the deadline that its request states", async () => {
    const seen = await seenBelow({}, { waitMs: 700 }, way);
    expect(seen?.deadlineAt).toBe(clock.monotonic() + 700);
  });

  it("has the earlier one of both, and none when nobody states one", async () => {
    const both = await seenBelow({ paramedic: { timeoutMs: 5_000 } }, { waitMs: 700 }, way);
    expect(both?.deadlineAt).toBe(clock.monotonic() + 700);
    expect((await seenBelow({}, {}, way))?.deadlineAt).toBeUndefined();
  });

  it("says what its procedure says of running twice", async () => {
    expect((await seenBelow({ paramedic: { idempotent: true } }, {}, way))?.idempotent).toBe(true);
    expect((await seenBelow({ paramedic: { idempotent: "yes" } }, {}, way))?.idempotent).toBeUndefined();
  });

  it.each([0, -1, Number.NaN, 1e12, "5000", {}])("takes no deadline from %s", async (timeoutMs) => {
    expect((await seenBelow({ paramedic: { timeoutMs } }, {}, way))?.deadlineAt).toBeUndefined();
  });

  it("survives meta whose getters throw", async () => {
    const meta = {
      get paramedic(): unknown {
        throw new Error("no");
      },
    };
    expect((await seenBelow(meta, {}, way))?.deadlineAt).toBeUndefined();
  });
});

describe("a call made inside a call", () => {
  it("inherits the deadline of the outer one, and may have an earlier one", async () => {
    const measured = t.procedure.use(harness.middleware);
    const deadlineAt = () => harness.callContext.current()?.deadlineAt;
    const inner = t.createCallerFactory(
      t.router({
        patient: measured.meta({ paramedic: { timeoutMs: 9_000 } }).query(deadlineAt),
        hurried: measured.meta({ paramedic: { timeoutMs: 100 } }).query(deadlineAt),
      }),
    )({});
    const router = t.router({
      outer: measured
        .meta({ paramedic: { timeoutMs: 1_000 } })
        .query(async () => [await inner.patient(), await inner.hurried()]),
    });
    const now = clock.monotonic();
    expect(await t.createCallerFactory(router)({}).outer()).toEqual([now + 1_000, now + 100]);
  });
});
