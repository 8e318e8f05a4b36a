/** What leaves the process, as Node itself tells of it: real requests to a real server. */
import { hasSubscribers } from "node:diagnostics_channel";
import { createServer, get, type RequestOptions, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetch as fetchOfPackage } from "undici";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAsyncCallContext } from "../../../server/adapters/async-call-context.js";
import { createGuardCoverage, type GuardCoverage } from "../../../server/guard/reach/guard-coverage.js";
import { ServiceReach } from "../../../server/guard/reach/service-reach.js";
import { systemClock } from "../../../server/ports/clock.js";
import { createFakeClock } from "../../support/fake-clock.js";
import { callOf, createGuardHarness } from "../guard-harness.js";

const SECRET = "s3cret";

let server: Server;
let port: number;
let origin: string;
const running: GuardCoverage[] = [];

beforeEach(async () => {
  server = createServer((_request, response) => response.end("ok"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ({ port } = server.address() as AddressInfo);
  origin = `http://127.0.0.1:${port}`;
});
afterEach(async () => {
  for (const coverage of running.splice(0)) coverage.stop();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function harness() {
  const reach = new ServiceReach();
  const callContext = createAsyncCallContext();
  const faults: unknown[] = [];
  const { guards } = createGuardHarness({ callContext, reach });
  const clock = createFakeClock();
  const coverage = createGuardCoverage({ clock, callContext, reach, onFault: (error) => faults.push(error) });
  running.push(coverage);
  coverage.start();
  const inCall = <T>(path: string, fn: () => T): T => callContext.run(callOf({ path }), fn);
  return { coverage, guards, inCall, clock, reach, faults };
}

const answered = (send: (onAnswer: (response: NodeJS.ReadableStream) => void) => NodeJS.EventEmitter) =>
  new Promise<void>((resolve, reject) => {
    send((response) => void response.resume().on("end", resolve)).on("error", reject);
  });
const readAll = async (response: { text(): Promise<string> }) => void (await response.text());

/** Ways to send the same request. */
const WAYS: readonly (readonly [string, (path: string) => Promise<void>])[] = [
  ["fetch", async (path) => readAll(await fetch(`${origin}${path}`))],
  ["fetch of the undici package", async (path) => readAll(await fetchOfPackage(`${origin}${path}`))],
  ["http.get", (path) => answered((onAnswer) => get(`${origin}${path}`, onAnswer))],
  [
    "http.request with options and a header of its own",
    (path) => {
      const headers = { authorization: `Bearer ${SECRET}` };
      return answered((onAnswer) => request({ host: "127.0.0.1", port, path, headers }, onAnswer).end());
    },
  ],
];

describe("outgoing calls", () => {
  it.each(WAYS)("are unguarded in a procedure and guarded in its guard: %s", async (_way, send) => {
    const { coverage, guards, inCall, clock } = harness();
    const guard = guards.guard("http:billing");
    await inCall("invoices.pay", () => guard.execute(() => send("/guarded")));
    expect(coverage.read().unguarded).toEqual([]);
    await inCall("invoices.list", () => send(`/unguarded?key=${SECRET}`));
    await inCall("invoices.get", () => send("/unguarded/2"));
    expect(coverage.read()).toMatchObject({
      watching: true,
      reaches: [{ procedure: "invoices.pay", service: "http:billing", count: 1 }],
      unguarded: [
        { origin, guarded: false, count: 2, lastSeenAt: clock.now(), procedures: ["invoices.get", "invoices.list"] },
      ],
      undecided: 0,
    });
    expect(JSON.stringify(coverage.read())).not.toContain(SECRET);
  });

  it.each(WAYS)("outside of procedures are unguarded while no guard is at work there: %s", async (_way, send) => {
    const { coverage, guards } = harness();
    const guard = guards.guard("http:billing");
    await guard.execute(() => send("/guarded"));
    expect(coverage.read()).toMatchObject({ unguarded: [], undecided: 1 });
    await send("/unguarded");
    expect(coverage.read()).toMatchObject({ unguarded: [{ origin, count: 1, procedures: [] }], undecided: 1 });
  });

  it("outside of procedures are told again once a hanging guard has given up", async () => {
    const reach = new ServiceReach();
    const { guards, clock } = createGuardHarness({ reach });
    const hanging = guards.guard("http:slow", { timeoutMs: 1_000 }).execute(() => new Promise<void>(() => {}));
    const refused = expect(hanging).rejects.toMatchObject({ reason: "attempt_timeout" });
    expect(reach.unlinked).toBe(1);
    await clock.advance(1_100);
    await refused;
    expect(reach.unlinked).toBe(0);
  });

  it.each(WAYS)("of a procedure are told apart while guarded work goes on elsewhere: %s", async (_way, send) => {
    const { coverage, guards, inCall } = harness();
    let finish = () => {};
    const elsewhere = guards.guard("http:slow").execute(() => new Promise<void>((resolve) => (finish = resolve)));
    await inCall("ask", () => send("/"));
    expect(coverage.read()).toMatchObject({ unguarded: [{ origin, count: 1, procedures: ["ask"] }], undecided: 0 });
    finish();
    await elsewhere;
  });

  it("are told of without procedures while no guard exists, since calls are linked from the first one on", async () => {
    const { coverage, inCall } = harness();
    await inCall("ask", () => fetch(origin).then(readAll));
    expect(coverage.read().unguarded).toMatchObject([{ origin, count: 1, procedures: [] }]);
  });

  it("of Paramedic itself count as nobody's", async () => {
    const { coverage } = harness();
    const headers = { "User-Agent": "paramedic/1.2.3" };
    await fetch(origin, { headers }).then(readAll);
    await fetchOfPackage(origin, { headers }).then(readAll);
    await answered((onAnswer) => get(origin, { headers }, onAnswer));
    await fetch(origin, { headers: { "user-agent": "paramedics-anonymous/1" } }).then(readAll);
    expect(coverage.read().unguarded).toMatchObject([{ origin, count: 1 }]);
  });

  it("count when nobody answers too", async () => {
    const { coverage } = harness();
    server.close();
    server.closeAllConnections();
    await expect(fetch(origin)).rejects.toThrow();
    await expect(answered((onAnswer) => get(origin, onAnswer))).rejects.toThrow();
    expect(coverage.read().unguarded).toMatchObject([{ origin, count: 2 }]);
  });

  it("are named by where they go: IPv6, a default port, a header that says otherwise, a socket file", async () => {
    const { coverage, faults } = harness();
    const failing = (options: RequestOptions) =>
      answered((onAnswer) => request(options, onAnswer).end()).catch(() => {});
    await failing({ host: "::1", port: 9, path: "/a" });
    await failing({ host: "127.0.0.1", port: 80, path: "/b", timeout: 10 });
    await failing({ host: "127.0.0.1", port, headers: { host: "shop.example:8443" } });
    await failing({ socketPath: join(tmpdir(), `${SECRET}.sock`), path: "/c" });
    const origins = coverage.read().unguarded.map((traffic) => traffic.origin);
    expect(origins.sort()).toEqual(["http+unix:", "http://127.0.0.1", "http://[::1]:9"]);
    expect(faults).toEqual([]);
  });
});

describe("watching", () => {
  const CHANNELS = ["undici:request:create", "http.client.request.start"];

  it("begins with start, once, and ends with stop", async () => {
    const { coverage } = harness();
    coverage.start();
    await fetch(origin).then(readAll);
    expect(coverage.read().unguarded).toMatchObject([{ count: 1 }]);
    coverage.stop();
    expect(CHANNELS.map(hasSubscribers)).toEqual([false, false]);
    await fetch(origin).then(readAll);
    expect(coverage.read()).toMatchObject({ watching: false, unguarded: [{ count: 1 }] });
  });

  it("of one Paramedic ends nobody else's, and each has its own list", async () => {
    const [one, other] = [harness(), harness()];
    one.coverage.stop();
    expect(CHANNELS.map(hasSubscribers)).toEqual([true, true]);
    await fetch(origin).then(readAll);
    expect(one.coverage.read().unguarded).toEqual([]);
    expect(other.coverage.read().unguarded).toMatchObject([{ origin, count: 1 }]);
  });

  it("never throws into the app: a fault of ours is told and the request goes on", async () => {
    const faults: unknown[] = [];
    const broken = new Error("no context");
    const callContext = {
      ...createAsyncCallContext(),
      current() {
        throw broken;
      },
    };
    const coverage = createGuardCoverage({
      clock: systemClock,
      callContext,
      reach: new ServiceReach(),
      onFault: (error) => faults.push(error),
    });
    running.push(coverage);
    coverage.start();
    await fetch(origin).then(readAll);
    await answered((onAnswer) => get(origin, onAnswer));
    expect(faults).toEqual([broken, broken]);
  });
});
