/** Each repair that Paramedic brings along, from the fault to the recovery that was verified, on an engine with a real journal. */
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import type { RecoveryEngineOptions } from "../../server/recovery/engine-options.js";
import { createFeatures } from "../../server/recovery/features.js";
import { createLastGood } from "../../server/recovery/last-good.js";
import { ReconnectStrategy } from "../../server/recovery/reconnect-strategy.js";
import { RecoveryEngine, type RecoveryEngineDeps } from "../../server/recovery/recovery-engine.js";
import { RestartStrategy } from "../../server/recovery/restart-strategy.js";
import { type PostRequest, ScaleStrategy, type ScaleWebhook } from "../../server/recovery/scale-strategy.js";
import { type HealableMachine, StateMachineStrategy } from "../../server/recovery/state-machine-strategy.js";
import { createFakeClock } from "../support/fake-clock.js";
import { aFailure } from "./a-failure.js";

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

function setUp(more: Partial<RecoveryEngineDeps> = {}, options: RecoveryEngineOptions = {}) {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const engineOf = (instance: string, deps: Partial<RecoveryEngineDeps> = {}) =>
    new RecoveryEngine({ clock, store, instance, ...more, ...deps }, options);
  const engine = engineOf("a");
  const rows = async () => [...(await store.listRecoveries({ limit: 100 })).items].reverse();
  const told = async () => (await rows()).map(({ actionStrategy, status }) => `${actionStrategy} ${status}`);
  return { clock, store, engine, engineOf, rows, told };
}

describe("scale", () => {
  const overload = (given: object = {}) =>
    aFailure({ failureCategory: "resource", failureType: "cpu_saturation", affectedService: "process:a", ...given });

  async function aReceiver(status = 202) {
    const requests: { headers: NodeJS.Dict<string | string[]>; body: string }[] = [];
    const server = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk) => (body += chunk));
      request.on("end", () => {
        requests.push({ headers: request.headers, body });
        response.writeHead(status, status === 302 ? { location: "/elsewhere" } : {}).end();
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    endings.push(() => server.close());
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/scale`, requests };
  }

  it("asks once for all instances, signed, and again only after its cooldown", async () => {
    const { url, requests } = await aReceiver();
    const { clock, engine, engineOf, told, rows } = setUp();
    const other = engineOf("b");
    const webhook: ScaleWebhook = { url, secret: "a-secret-of-16-chars", cooldownMs: 600_000 };
    for (const [instance, one] of [["a", engine] as const, ["b", other] as const]) {
      one.registerStrategy(new ScaleStrategy({ clock, instance }, webhook));
    }
    await engine.handleFailure(overload());
    await other.handleFailure(overload({ affectedService: "process:b" }));
    expect(requests).toHaveLength(1);
    const [{ headers, body } = { headers: {}, body: "" }] = requests;
    const timestamp = String(headers["x-paramedic-timestamp"]);
    expect(headers["x-paramedic-signature"]).toBe(
      createHmac("sha256", "a-secret-of-16-chars").update(`${timestamp}.${body}`).digest("hex"),
    );
    expect(JSON.parse(body)).toMatchObject({ event: "scale", instance: "a", failureType: "cpu_saturation" });
    expect(await told()).toEqual(["scale_webhook succeeded"]);
    expect((await rows())[0]).toMatchObject({ target: "fleet", actionType: "scale" });
    await clock.advance(600_001);
    await other.handleFailure(overload({ affectedService: "process:b", timestamp: clock.now() }));
    expect(requests).toHaveLength(2);
  });

  it.each([
    ["refuses", 503],
    ["redirects", 302],
  ])("fails when the receiver %s", async (_, status) => {
    const { url } = await aReceiver(status);
    const { clock, engine, told } = setUp();
    engine.registerStrategy(new ScaleStrategy({ clock, instance: "a" }, { url }));
    await engine.handleFailure(overload());
    expect(await told()).toEqual(["scale_webhook failed"]);
  });

  it("gives up on a receiver that does not answer", async () => {
    const { clock, engine, rows } = setUp();
    const post: PostRequest = (_url, { signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    engine.registerStrategy(
      new ScaleStrategy({ clock, instance: "a", post }, { url: "http://127.0.0.1:1/", timeoutMs: 50 }),
    );
    const handling = engine.handleFailure(overload());
    await clock.advance(50);
    await handling;
    const [row] = await rows();
    expect(row).toMatchObject({ status: "failed" });
    expect(row?.result?.message).toMatch(/no answer within 50 ms/);
  });
});

describe("restart", () => {
  const leak = (at: number, message = "the heap is full") =>
    aFailure({
      failureCategory: "resource",
      failureType: "memory_pressure",
      affectedService: "process:web-1",
      errorMessage: message,
      timestamp: at,
    });

  it("stays in progress while the process ends, and the life that takes over says that it worked", async () => {
    const { clock, engine, engineOf, rows } = setUp({ place: "web-1" });
    const restarts: string[] = [];
    engine.registerStrategy(
      new RestartStrategy({ clock, place: "web-1", restart: ({ eventId }) => void restarts.push(eventId) }),
    );
    await engine.handleFailure(leak(clock.now()));
    expect(await rows()).toMatchObject([{ status: "in_progress", target: "process:web-1", actionType: "restart" }]);
    await clock.advance(0);
    expect(restarts).toHaveLength(1);
    await engine.stop();

    await clock.advance(3_000);
    const heir = engineOf("a-2");
    heir.start();
    await clock.advance(300);
    expect(await rows()).toMatchObject([
      { status: "succeeded", durationMs: 3_250, result: { message: "started anew as a-2", verified: true } },
    ]);
    await heir.stop();
  });

  it("is abandoned when nobody takes over in time", async () => {
    const { clock, engine, engineOf, rows } = setUp();
    engine.registerStrategy(new RestartStrategy({ clock, place: "web-1", restart: () => undefined }));
    await engine.handleFailure(leak(clock.now()));
    const witness = engineOf("b");
    witness.start();
    await clock.advance(90_000);
    expect(await rows()).toMatchObject([{ status: "abandoned" }]);
    await witness.stop();
  });

  it("happens at most three times in an hour, over all lives, so that a crash loop ends", async () => {
    const { clock, engineOf, rows } = setUp({ place: "web-1" }, { escalateAfter: 90, maxRepairsPerWindow: 90 });
    const restarts: number[] = [];
    for (let life = 0; life < 6; life += 1) {
      const engine = engineOf(`life-${life}`);
      engine.registerStrategy(new RestartStrategy({ clock, place: "web-1", restart: () => void restarts.push(life) }));
      engine.start();
      await clock.advance(300);
      await engine.handleFailure(leak(clock.now(), `the heap is full in life ${"x".repeat(life)}`));
      await clock.advance(60_000);
      await engine.stop();
    }
    expect(restarts).toHaveLength(3);
    expect((await rows()).filter(({ actionStrategy }) => actionStrategy === "graceful_restart")).toHaveLength(3);
  });
});

describe("a state machine", () => {
  function aMachine(given: Partial<HealableMachine> = {}) {
    const visited: string[] = [];
    let state = "stuck";
    const go = (to: string) => {
      visited.push(to);
      state = to;
    };
    const machine: HealableMachine = {
      service: "machine:orders",
      states: ["idle", "running", "stuck"],
      safeState: "idle",
      healthyStates: ["running"],
      state: () => state,
      enterSafeState: () => go("idle"),
      initialise: () => go("running"),
      ...given,
    };
    return { machine, visited, go };
  }
  const stuck = () => aFailure({ failureType: "stuck_task", affectedService: "machine:orders" });

  it("is put back into its safe state, started anew, and verified", async () => {
    const { clock, engine, rows } = setUp();
    const { machine, visited } = aMachine();
    engine.registerStrategy(new StateMachineStrategy("orders", machine, { clock }));
    await engine.handleFailure(stuck());
    expect(visited).toEqual(["idle", "running"]);
    expect(await rows()).toMatchObject([
      {
        actionStrategy: "heal:orders",
        actionType: "reset",
        status: "succeeded",
        result: { from: "stuck", verified: true },
      },
    ]);
  });

  it("rests in its safe state when it does not start", async () => {
    const { clock, engine, told } = setUp();
    const { machine, visited, go } = aMachine({ initialise: () => go("stuck") });
    engine.registerStrategy(new StateMachineStrategy("orders", machine, { clock }));
    await engine.handleFailure(stuck());
    expect(visited).toEqual(["idle", "stuck", "idle"]);
    expect(await told()).toEqual(["heal:orders rolled_back"]);
  });

  it("that does not reach its safe state is not started", async () => {
    const { clock, engine, told } = setUp();
    const { machine, visited } = aMachine({ enterSafeState: () => undefined });
    engine.registerStrategy(new StateMachineStrategy("orders", machine, { clock }));
    await engine.handleFailure(stuck());
    expect(visited).toEqual([]);
    expect(await told()).toEqual(["heal:orders failed"]);
  });

  it("with a safe state that is none of its states is refused at once", () => {
    const { machine } = aMachine({ safeState: "parked" });
    expect(() => new StateMachineStrategy("orders", machine)).toThrow(/"parked" is none of its states/);
  });
});

describe("a feature", () => {
  function withFeatures() {
    const base = setUp({}, { resolveAfterMs: 60_000 });
    const { clock, store } = base;
    const sick = new Set<string>();
    const instances = ["a", "b"].map((instance) => {
      const engine = base.engineOf(instance);
      const features = createFeatures({
        clock,
        store,
        journal: engine.journal,
        registerStrategy: (strategy) => engine.registerStrategy(strategy),
        isHealthy: (service) => !sick.has(service),
        onFault: (error) => {
          throw error;
        },
      });
      const feature = features.feature("recommendations", { dependsOn: ["llm:*"] });
      engine.start();
      features.start();
      endings.push(
        () => engine.stop(),
        () => features.stop(),
      );
      return { engine, feature };
    });
    const [a, b] = instances;
    if (!a || !b) throw new Error("there are two");
    return { ...base, a, b, sick };
  }

  it("is off in every instance until its service is healthy, and then on again, both as rows", async () => {
    const { clock, a, b, told } = withFeatures();
    expect([a.feature.isOn(), b.feature.isOn()]).toEqual([true, true]);
    await a.engine.handleFailure(aFailure({ timestamp: clock.now() }));
    expect(a.feature.isOn()).toBe(false);
    await clock.advance(5_001);
    expect(b.feature.isOn()).toBe(false);
    await clock.advance(50_000);
    expect([a.feature.isOn(), b.feature.isOn()]).toEqual([false, false]);
    await clock.advance(30_000);
    expect([a.feature.isOn(), b.feature.isOn()]).toEqual([true, true]);
    expect(await told()).toEqual(["degrade:recommendations succeeded", "restore:recommendations succeeded"]);
  });

  it("stays off while circuit or check say that the service is not healthy, though nobody sees it fail", async () => {
    const { clock, a, sick } = withFeatures();
    sick.add("llm:openai");
    await a.engine.handleFailure(aFailure({ timestamp: clock.now() }));
    await clock.advance(300_000);
    expect(a.feature.isOn()).toBe(false);
    sick.clear();
    await clock.advance(5_001);
    expect(a.feature.isOn()).toBe(true);
  });

  it("does not mind failures of what it does not depend on", async () => {
    const { a } = withFeatures();
    await a.engine.handleFailure(aFailure({ affectedService: "http:billing" }));
    expect(a.feature.isOn()).toBe(true);
  });
});

describe("reconnect", () => {
  it.each([
    ["database_reconnect", "database", "database_connection", "db:main"],
    ["redis_reconnect", "redis", "redis_connection", "redis:cache"],
  ] as const)(
    "%s opens a new connection and asks once more before it says so",
    async (name, kind, failureType, service) => {
      const { clock, engine, rows } = setUp();
      const asked: string[] = [];
      const connection = {
        reconnect: async () => void asked.push("reconnect"),
        ping: async () => void asked.push("ping"),
      };
      const reconnectable = (wanted: string) => (wanted === service ? connection : undefined);
      engine.registerStrategy(new ReconnectStrategy({ clock, kind, reconnectable }));
      await engine.handleFailure(aFailure({ failureType, affectedService: service }));
      expect(asked).toEqual(["reconnect", "ping"]);
      expect(await rows()).toMatchObject([{ actionStrategy: name, status: "succeeded", result: { verified: true } }]);
    },
  );
});

describe("last good values", () => {
  const make = (limits = {}) => {
    const clock = createFakeClock();
    const store = createMemoryStore({ clock });
    const faults: unknown[] = [];
    const values = createLastGood({ clock, store, onFault: (error) => faults.push(error) }, limits);
    return { clock, store, values, faults };
  };

  it("answer what was answered last for the same arguments, with their age, and nobody can change them", async () => {
    const { clock, values } = make();
    const lastGood = values.of<[string], { text: string }>("summarise");
    const answer = { text: "short" };
    const target = lastGood.keeping(async (_context: object, _text: string) => answer);
    await target({}, "long text");
    answer.text = "changed";
    await clock.advance(1_500);
    expect(await lastGood.recall(["long text"])).toEqual({ value: { text: "short" }, ageMs: 1_500 });
    expect(await lastGood.fallback(aFailure(), "long text")).toEqual({ text: "short" });
    expect(await lastGood.recall(["another text"])).toBeUndefined();
    expect(await values.of<[string], string>("another").recall(["long text"])).toBeUndefined();
  });

  it("are too old after five minutes", async () => {
    const { clock, values } = make();
    const lastGood = values.of<[], number>("rate");
    lastGood.remember([], 1);
    await clock.advance(300_000);
    expect(await lastGood.recall([])).toEqual({ value: 1, ageMs: 300_000 });
    await clock.advance(1);
    expect(await lastGood.recall([])).toBeUndefined();
    await expect(lastGood.fallback(aFailure())).rejects.toMatchObject({ code: "FALLBACK_EMPTY" });
  });

  it("are at most 1,000, the one not used for longest leaves first", async () => {
    const { values } = make();
    const lastGood = values.of<[number], number>("square");
    for (let n = 0; n < 1_000; n += 1) lastGood.remember([n], n * n);
    await lastGood.recall([0]);
    lastGood.remember([1_000], 1_000_000);
    expect(values.entries).toBe(1_000);
    expect(await lastGood.recall([0])).toMatchObject({ value: 0 });
    expect(await lastGood.recall([1])).toBeUndefined();
  });

  it("take at most 50 MB, and what is larger alone is not kept", async () => {
    const { values } = make();
    const lastGood = values.of<[number], string>("page");
    const megabyte = "x".repeat(512 * 1_024);
    for (let n = 0; n < 100; n += 1) lastGood.remember([n], megabyte);
    expect(values.bytes).toBeLessThanOrEqual(50 * 1_024 * 1_024);
    expect(values.entries).toBeGreaterThan(45);
    const { values: small } = make({ maxBytes: 1_000 });
    const page = small.of<[number], string>("page");
    page.remember([1], "x".repeat(1_000));
    expect([small.entries, small.bytes]).toEqual([0, 0]);
  });

  it("survive the process only where an operation opts in, and hold no arguments", async () => {
    const { clock, store, values } = make();
    values.of<[string], string>("kept", { persist: true }).remember(["secret question"], "answer");
    values.of<[string], string>("lost").remember(["secret question"], "answer");
    await clock.advance(10);
    const next = createLastGood({ clock, store, onFault: () => undefined });
    const options = { persist: true };
    expect(await next.of<[string], string>("kept", options).recall(["secret question"])).toEqual({
      value: "answer",
      ageMs: 10,
    });
    expect(await next.of<[string], string>("lost", options).recall(["secret question"])).toBeUndefined();
  });

  it("count what cannot be text as a fault of ours, and let the call go on", async () => {
    const { values, faults } = make();
    const lastGood = values.of<[], unknown>("odd");
    const target = lastGood.keeping(async (_context: object) => ({ big: 1n }));
    expect(await target({})).toEqual({ big: 1n });
    expect(faults).toHaveLength(1);
    expect(values.entries).toBe(0);
  });

  it("are not those of other arguments that JSON says nothing of, nor answers that it makes nothing of", async () => {
    const { values, faults } = make();
    const lastGood = values.of<[unknown], unknown>("odd");
    lastGood.remember([new Map([["user", "ada"]])], "what is ada's");
    expect(await lastGood.recall([new Map([["user", "bob"]])])).toBeUndefined();
    expect(await lastGood.recall([{ query: new URLSearchParams("user=bob") }])).toBeUndefined();
    expect(await lastGood.recall([1n])).toBeUndefined();
    lastGood.remember(["rates"], { rates: new Map([["eur", 1]]) });
    expect(await lastGood.recall(["rates"])).toBeUndefined();
    expect(faults.map(String)).toContain("TypeError: [object Map] is no JSON: it is not remembered");
    const plain = [Object.create(null), {}, [], new Date(0), { nothing: undefined }];
    lastGood.remember([plain], "kept");
    expect(await lastGood.recall([plain])).toMatchObject({ value: "kept" });
  });

  it("refuse a time out of its range", () => {
    expect(() => make().values.of("x", { ttlMs: 0 })).toThrow(/ttlMs is 0; legal is/);
  });
});
