/** Guard coverage as an operator reads it: an app over HTTP, with guards, and with a call that nobody guards. */
import { hasSubscribers } from "node:diagnostics_channel";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, get, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTRPCClient, httpLink } from "@trpc/client";
import { initTRPC } from "@trpc/server";
import { createHTTPServer } from "@trpc/server/adapters/standalone";
import Database from "better-sqlite3";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic } from "../../server/index.js";

const CHANNELS = ["undici:request:create", "http.client.request.start"];

interface Context {
  readonly isReader: boolean;
}

let folder: string;
const ends: (() => unknown)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-coverage-"));
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  rmSync(folder, { recursive: true, force: true });
});

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An app whose procedures use a guarded provider, a guarded database, and a mail service that was forgotten. */
async function startApp(name: string, variables: Record<string, string> = {}) {
  const paramedic = createParamedic<Context>({
    logger: false,
    instance: name,
    authorize: ({ ctx }) => (ctx.isReader ? "read" : undefined),
    overrides: {
      environment: readEnvironment({ PARAMEDIC_DATABASE_URL: `file:${join(folder, `${name}.db`)}`, ...variables }),
    },
  });
  ends.push(() => paramedic.shutdown());
  const provider = await listen(createServer((_request, response) => response.end("fine")));
  const mail = await listen(createServer((_request, response) => response.end("sent")));
  const sqlite = new Database(join(folder, `${name}-app.db`));
  ends.push(() => sqlite.close());
  const db = paramedic.guardDatabase("db:main", drizzle(sqlite));
  const service = paramedic.guard("http:provider");
  const t = initTRPC.context<Context>().create();
  const procedure = t.procedure.use(paramedic.middleware());
  const router = t.router({
    ask: procedure.query(() => service.execute(async ({ signal }) => (await fetch(provider, { signal })).text())),
    remind: procedure.mutation(async () => {
      const patients = await db.all<{ n: number }>(sql`select 7 as n`);
      await paramedic.transaction(db, (tx) => tx.all(sql`select 8`));
      await fetch(`${mail}/send?to=ada@example.com`, { method: "POST" }).then((response) => response.text());
      return patients;
    }),
    weather: procedure.query(
      () =>
        new Promise<string>((resolve, reject) => {
          get(`${mail}/weather`, (response) => void response.resume().on("end", () => resolve("sunny"))).on(
            "error",
            reject,
          );
        }),
    ),
    paramedic: paramedic.router,
  });
  const createContext = ({ req }: { req: { headers: { authorization?: string | undefined } } }): Context => ({
    isReader: req.headers.authorization === "reader",
  });
  const url = await listen(createHTTPServer({ router, createContext }));
  const client = (authorization: string) =>
    createTRPCClient<typeof router>({ links: [httpLink({ url, headers: { authorization } })] });
  return { paramedic, client, provider, mail, url };
}

describe("guard coverage", () => {
  it("names the services of each procedure, and what goes out past every guard, of this instance", async () => {
    const { client, mail, url } = await startApp("one");
    const app = client("reader");
    await app.ask.query();
    await app.ask.query();
    await app.remind.mutate();
    await app.weather.query();
    const coverage = await app.paramedic.coverage.query();
    expect(coverage).toMatchObject({
      instance: "one",
      watching: true,
      undecided: 0,
      unlisted: { reaches: 0, unguarded: 0 },
      reaches: [
        { procedure: "ask", service: "http:provider", count: 2 },
        { procedure: "remind", service: "db:main", count: 2 },
      ],
    });
    const since = Date.now() - 60_000;
    for (const { lastSeenAt } of coverage.reaches) expect(lastSeenAt).toBeGreaterThan(since);
    // The client of this test is in the same process, and nobody guards it.
    expect(coverage.unguarded.map(({ origin, count, procedures }) => ({ origin, count, procedures }))).toEqual([
      { origin: url, count: 5, procedures: [] },
      { origin: mail, count: 2, procedures: ["remind", "weather"] },
    ]);
    expect(JSON.stringify(coverage)).not.toContain("ada@example.com");
  });

  it("is for readers alone", async () => {
    const { client } = await startApp("one");
    await expect(client("nobody").paramedic.coverage.query()).rejects.toMatchObject({ data: { code: "FORBIDDEN" } });
  });

  it.each(["INSTRUMENTATION_ENABLED", "SELF_HEALING_ENABLED"])("watches nothing while %s is off", async (flag) => {
    const { client } = await startApp("one", { [flag]: "false" });
    const app = client("reader");
    await app.ask.query();
    await app.weather.query();
    expect(CHANNELS.map(hasSubscribers)).toEqual([false, false]);
    expect(await app.paramedic.coverage.query()).toMatchObject({ watching: false, reaches: [], unguarded: [] });
  });

  it("is each Paramedic's own, and ends with it", async () => {
    const one = await startApp("one");
    const two = await startApp("two");
    await one.client("reader").ask.query();
    await one.paramedic.shutdown();
    expect(CHANNELS.map(hasSubscribers)).toEqual([true, true]);
    await two.client("reader").weather.query();
    const coverage = await two.client("reader").paramedic.coverage.query();
    expect(coverage.reaches).toEqual([]);
    expect(coverage.unguarded).toContainEqual(expect.objectContaining({ origin: two.mail, procedures: ["weather"] }));
    await two.paramedic.shutdown();
    expect(CHANNELS.map(hasSubscribers)).toEqual([false, false]);
  });
});
