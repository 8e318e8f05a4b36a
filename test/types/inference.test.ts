import { createTRPCClient, httpBatchLink } from "@trpc/client";
import type { inferRouterInputs, inferRouterOutputs } from "@trpc/server";
import { initTRPC, TRPCError } from "@trpc/server";
import { createHTTPServer } from "@trpc/server/adapters/standalone";
import Database from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import superjson from "superjson";
import { afterAll, describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { readEnvironment } from "../../server/env.js";
import { createParamedic } from "../../server/index.js";
import { systemClock } from "../../server/ports/clock.js";
import type { HealthReport } from "../../shared/health.js";

interface Context {
  user: { name: string; isAdmin: boolean } | undefined;
}
interface Meta {
  audited: boolean;
}

const paramedic = createParamedic<Context>({
  logger: false,
  redis: false,
  authorize: ({ ctx }) => (ctx.user?.isAdmin ? "operate" : undefined),
  overrides: {
    store: createMemoryStore({ clock: systemClock }),
    // What a busy machine does to this process is a failure too.
    environment: readEnvironment({ HEALTH_MONITORING_ENABLED: "false" }),
  },
});
afterAll(() => paramedic.shutdown());

const t = initTRPC
  .context<Context>()
  .meta<Meta>()
  .create({
    transformer: superjson,
    errorFormatter: ({ shape, error }) => ({
      ...shape,
      data: { ...shape.data, zod: error.cause instanceof z.ZodError ? z.flattenError(error.cause) : undefined },
    }),
  });
const measured = t.procedure.use(paramedic.middleware());
const secured = measured.use(({ ctx, next }) => {
  if (ctx.user === undefined) throw new TRPCError({ code: "UNAUTHORIZED" });
  return next({ ctx: { user: ctx.user } });
});

const appRouter = t.router({
  hello: measured
    .meta({ audited: true })
    .input(z.object({ at: z.date() }))
    .query(({ ctx, input }) => {
      expectTypeOf(ctx).toEqualTypeOf<Context>();
      expectTypeOf(input).toEqualTypeOf<{ at: Date }>();
      return { at: input.at };
    }),
  me: secured.query(({ ctx }) => {
    expectTypeOf(ctx.user).toEqualTypeOf<{ name: string; isAdmin: boolean }>();
    return ctx.user.name;
  }),
  after: t.procedure
    .input(z.string())
    .use(paramedic.middleware())
    .query(({ input }) => {
      expectTypeOf(input).toEqualTypeOf<string>();
      return input;
    }),
  health: paramedic.healthProcedure,
  paramedic: paramedic.router,
});
type AppRouter = typeof appRouter;

describe("types inside a host app", () => {
  it("keep the middleware's context, meta and input as they were", () => {
    // @ts-expect-error meta is still checked
    measured.meta({ audited: "yes" });
    expectTypeOf<inferRouterInputs<AppRouter>["hello"]>().toEqualTypeOf<{ at: Date }>();
    expectTypeOf<inferRouterOutputs<AppRouter>["me"]>().toEqualTypeOf<string>();
    expect(appRouter._def.procedures).toHaveProperty("hello");
  });

  it("give back the database type that was put in", () => {
    const db = drizzle(new Database(":memory:"), { schema: {} });
    const guarded = paramedic.guardDatabase("db:types", db);
    expectTypeOf(guarded).toEqualTypeOf(db);
    expect(guarded).toBe(db);
  });

  it("infer health and router on the client, under the outer transformer and formatter, and work over HTTP", async () => {
    const server = createHTTPServer({
      router: appRouter,
      createContext: ({ req }): Context => ({
        user: req.headers.authorization === "admin" ? { name: "ada", isAdmin: true } : undefined,
      }),
      onError: paramedic.onError,
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
    const clientAs = (authorization: string) =>
      createTRPCClient<AppRouter>({
        links: [httpBatchLink({ url, transformer: superjson, headers: { authorization } })],
      });
    try {
      const admin = clientAs("admin");
      expectTypeOf(admin.health.query).returns.resolves.toEqualTypeOf<HealthReport>();
      const at = new Date(0);
      expect((await admin.hello.query({ at })).at).toEqual(at);
      expect((await admin.health.query()).checks.length).toBeGreaterThan(0);
      expect((await admin.paramedic.failures.list.query({ limit: 5 })).items).toEqual([]);
      await expect(clientAs("nobody").paramedic.failures.list.query()).rejects.toMatchObject({
        data: { code: "FORBIDDEN" },
      });
      await expect(clientAs("nobody").me.query()).rejects.toMatchObject({ data: { code: "UNAUTHORIZED" } });
      // @ts-expect-error the limit is a number on the client too
      await expect(admin.paramedic.failures.list.query({ limit: "many" })).rejects.toMatchObject({
        data: { code: "BAD_REQUEST", zod: { fieldErrors: { limit: expect.any(Array) } } },
      });
    } finally {
      server.close();
    }
  });
});
