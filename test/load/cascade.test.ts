/**
 * Service A turns slow. B asks it, with a pool that fills with waiting; C asks B, and would be refused although it needs A for
 * nothing. Over real HTTP, with guards and without.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type Paramedic } from "../../server/index.js";
import { askEvenly, failedOf, p99Of } from "./traffic.js";

const POOL = 20;
const SLOW_MS = 20_000;

let folder: string;
let paramedic: Paramedic;
const servers: Server[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-cascade-"));
  const environment = readEnvironment({ PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}` });
  paramedic = createParamedic({ logger: false, redis: false, overrides: { environment } });
  await paramedic.ready;
});
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
  await paramedic.shutdown();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}

async function textOf(url: string, signal?: AbortSignal): Promise<string> {
  const response = await fetch(url, signal === undefined ? {} : { signal });
  if (!response.ok) throw Object.assign(new Error(`${url} answered ${response.status}`), { status: response.status });
  return response.text();
}

/** Prices, which B shows beside what it knows itself. */
async function startA() {
  const a = { isSlow: false, requests: 0, url: "" };
  a.url = await serve((_request, response) => {
    a.requests += 1;
    setTimeout(() => response.end("price 7"), a.isSlow ? SLOW_MS : 1).unref();
  });
  return a;
}

/** As many requests at work as its pool has places; what does not fit is refused. */
async function startB(askPrice: () => Promise<string>) {
  let atWork = 0;
  return serve((request, response) => {
    if (atWork >= POOL) {
      response.writeHead(503).end("the pool is full");
      return;
    }
    atWork += 1;
    const answer = request.url === "/offer" ? askPrice() : Promise.resolve("address");
    answer
      .then(
        (text) => response.end(text),
        () => response.writeHead(502).end("no price"),
      )
      .finally(() => {
        atWork -= 1;
      });
  });
}

/** A fifth of B's traffic needs A; C's does not. */
async function playOn(b: string) {
  const offers = askEvenly(() => textOf(`${b}/offer`, AbortSignal.timeout(5_000)), { perSecond: 20, seconds: 5 });
  const addresses = askEvenly(() => textOf(`${b}/address`), { perSecond: 80, seconds: 5 });
  return { offers: await offers, addresses: await addresses };
}

describe("when service A turns slow", () => {
  it("without guards B's pool fills, and C is refused", async () => {
    const a = await startA();
    const b = await startB(() => textOf(a.url));
    a.isSlow = true;
    const { offers, addresses } = await playOn(b);
    console.info(`cascade without guards: ${failedOf(addresses).length} of ${addresses.length} of C's callers refused`);
    expect(failedOf(offers)).toHaveLength(offers.length);
    expect(failedOf(addresses).length).toBeGreaterThan(addresses.length / 2);
  });

  it("with guards C's callers never notice, and B's get the price it knew last", async () => {
    const a = await startA();
    const guard = paramedic.guard("http:prices", { timeoutMs: 300, maxConcurrent: POOL / 4, idempotent: true });
    let known = "no price yet";
    const b = await startB(() =>
      guard.execute(
        async ({ signal }) => {
          known = await textOf(a.url, signal);
          return known;
        },
        { timeoutMs: 600, fallback: () => known },
      ),
    );
    expect(await textOf(`${b}/offer`)).toBe("price 7");
    a.isSlow = true;
    const { offers, addresses } = await playOn(b);
    console.info(
      `cascade with guards: ${failedOf(addresses).length} of ${addresses.length} of C's callers refused, p99 ` +
        `${p99Of(addresses).toFixed(1)} ms; ${failedOf(offers).length} of ${offers.length} of B's`,
    );
    expect(failedOf(addresses)).toEqual([]);
    expect(failedOf(offers)).toEqual([]);
    expect(p99Of(addresses)).toBeLessThan(500);
    expect(paramedic.circuits.get("http:prices")?.getState().state).toBe("open");
    expect(a.requests).toBeLessThan(offers.length / 2);
  });
});
