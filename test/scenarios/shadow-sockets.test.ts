/**
 * The same chaos in `full` and in `shadow`, counted where effects leave the process: connections and requests at real servers
 * of two providers, of the scaling webhook, and of what is reconnected.
 */
import { createServer, get, type RequestListener } from "node:http";
import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { readEnvironment } from "../../server/env.js";
import { createParamedic } from "../../server/index.js";
import { systemClock } from "../../server/ports/clock.js";
import type { Mode } from "../../shared/mode.js";
import { failureOf } from "../conformance/store-fixtures.js";

type CleanUp = (work: () => void | Promise<void>) => void;

/** A server that counts who connects and who asks. */
async function countingServer(cleanUp: CleanUp, answer: RequestListener) {
  const counts = { connections: 0, requests: 0 };
  const server = createServer((request, response) => {
    counts.requests += 1;
    answer(request, response);
  });
  server.on("connection", () => {
    counts.connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanUp(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  return { counts, port: typeof address === "object" && address !== null ? address.port : 0 };
}

/** One request on a connection of its own, so that each attempt is a socket. */
function ask(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ port, host: "127.0.0.1", agent: false }, (response) => {
      response.resume();
      const { statusCode: status } = response;
      if (status === 200) resolve("well");
      else reject(Object.assign(new Error(`answered ${status}`), { status }));
    }).on("error", reject);
  });
}

function dial(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve();
    });
    socket.on("error", reject);
  });
}

const ROUNDS = 12;

async function chaos(mode: Mode, cleanUp: CleanUp) {
  const down: RequestListener = (_request, response) => void response.writeHead(503).end();
  const first = await countingServer(cleanUp, down);
  const second = await countingServer(cleanUp, (_request, response) => void response.end("well"));
  const webhook = await countingServer(cleanUp, (_request, response) => void response.writeHead(202).end());
  const cache = await countingServer(cleanUp, down);
  const environment = readEnvironment({
    SELF_HEALING_MODE: mode,
    CIRCUIT_BREAKER_FAILURE_THRESHOLD: "5",
    RECOVERY_RETRY_BASE_DELAY_MS: "1",
    RECOVERY_RETRY_MAX_DELAY_MS: "2",
  });
  const paramedic = createParamedic({
    logger: false,
    redis: false,
    scaleWebhook: { url: `http://127.0.0.1:${webhook.port}/` },
    overrides: { environment, store: createMemoryStore({ clock: systemClock }) },
  });
  cleanUp(() => paramedic.shutdown());
  await paramedic.ready;
  paramedic.reconnectable("redis:cache", { reconnect: () => dial(cache.port), ping: () => dial(cache.port) });
  const answer = paramedic.operation("answer", {
    targets: { "llm:first": () => ask(first.port), "llm:second": () => ask(second.port) },
  });
  const ends: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    ends.push(await answer().catch(({ message }: { message: string }) => message));
    const timestamp = Date.now();
    const failures = [
      failureOf({ affectedService: "redis:cache", failureType: "redis_connection", timestamp }),
      failureOf({
        affectedService: "process:a",
        failureType: "cpu_saturation",
        failureCategory: "resource",
        timestamp,
      }),
    ];
    for (const failure of failures) await paramedic.recovery.handleFailure(failure);
  }
  await paramedic.recovery.drainOnce();
  const { items } = await paramedic.store.listRecoveries({ limit: 200 });
  return {
    ends,
    counts: { first: first.counts, second: second.counts, webhook: webhook.counts, cache: cache.counts },
    acts: items.filter(({ actionStrategy }) => actionStrategy !== "none"),
  };
}

const none = { connections: 0, requests: 0 };

describe("sockets", { timeout: 60_000 }, () => {
  it("in full reach the next provider, the webhook and the cache; in shadow one per call, and nobody else", async ({
    onTestFinished,
  }) => {
    const full = await chaos("full", onTestFinished);
    expect(full.ends).toEqual(Array.from({ length: ROUNDS }, () => "well"));
    for (const { connections } of Object.values(full.counts)) expect(connections).toBeGreaterThan(0);
    expect(full.counts.webhook.requests).toBeGreaterThan(0);
    expect(full.acts.some(({ dryRun, status }) => !dryRun && status === "succeeded")).toBe(true);

    const shadow = await chaos("shadow", onTestFinished);
    expect(shadow.ends).toEqual(Array.from({ length: ROUNDS }, () => "answered 503"));
    // A circuit that measures "open" refused none of them.
    const one = { connections: ROUNDS, requests: ROUNDS };
    expect(shadow.counts).toEqual({ first: one, second: none, webhook: none, cache: none });
    const strategies = new Set(shadow.acts.map(({ actionStrategy }) => actionStrategy));
    expect([...strategies]).toEqual(
      expect.arrayContaining(["exponential_backoff_retry", "circuit_break", "scale_webhook", "redis_reconnect"]),
    );
    for (const act of shadow.acts) expect(act).toMatchObject({ dryRun: true, leaseUntil: undefined });
  });
});
