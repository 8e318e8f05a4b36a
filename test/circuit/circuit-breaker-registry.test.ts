import { describe, expect, it } from "vitest";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { silentLogger } from "../../server/ports/logger.js";
import { createFakeClock } from "../support/fake-clock.js";

describe("a circuit registry", () => {
  it("gives the same circuit for the same name, and knows it from then on", () => {
    const registry = new CircuitBreakerRegistry();
    expect(registry.get("a")).toBeUndefined();
    const a = registry.getOrCreate("a", { failureThreshold: 3 });
    const b = registry.getOrCreate("b");
    expect(registry.getOrCreate("a", { failureThreshold: 3 })).toBe(a);
    expect(registry.getOrCreate("a")).toBe(a);
    expect(registry.get("a")).toBe(a);
    expect(registry.getAll()).toEqual([a, b]);
  });

  it("keeps the first configuration and says so once, however often another one comes", () => {
    const warnings: unknown[] = [];
    const logger = {
      ...silentLogger,
      warn: (fields: object, message: string) => void warnings.push([fields, message]),
    };
    const registry = new CircuitBreakerRegistry({ logger });
    registry.getOrCreate("a", { failureThreshold: 3 });
    registry.getOrCreate("a");
    expect(warnings, "who asks for no configuration wants no other").toEqual([]);
    for (let i = 0; i < 3; i += 1) registry.getOrCreate("a", { failureThreshold: 4 });
    expect(registry.get("a")?.config.failureThreshold).toBe(3);
    expect(warnings).toEqual([
      [{ circuitName: "a" }, 'circuit "a" exists with another configuration; the first one stays'],
    ]);
  });

  it("remembers of as many circuits as it keeps that it said so", () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_fields: object, message: string) => void warnings.push(message) };
    const registry = new CircuitBreakerRegistry({ logger }, { maxCircuits: 2 });
    for (const name of ["a", "b", "c"]) registry.getOrCreate(name).forceOpen("operator");
    for (const name of ["a", "b", "c", "a", "b", "c"]) registry.getOrCreate(name, { failureThreshold: 4 });
    expect(warnings.map((message) => message.slice(9, 10))).toEqual(["a", "b", "c", "c"]);
  });

  it("has faults, and callers none, where the logger throws", () => {
    const faults: unknown[] = [];
    const full = new Error("disk full");
    const logger = {
      ...silentLogger,
      warn: () => {
        throw full;
      },
    };
    const registry = new CircuitBreakerRegistry({ logger, onFault: (fault) => faults.push(fault) });
    registry.getOrCreate("a");
    expect(registry.getOrCreate("a", { failureThreshold: 4 })).toBe(registry.get("a"));
    expect(faults).toEqual([full]);
  });

  it("needs nobody who hears of panic and of what would have opened", () => {
    const faults: unknown[] = [];
    const registry = new CircuitBreakerRegistry({ onFault: (fault) => faults.push(fault) }, { panicShare: 0 });
    const all = Array.from({ length: 10 }, (_, at) => registry.getOrCreate(`svc-${at}`, { failureThreshold: 1 }));
    all[0]?.shadow({ failureThreshold: 1 });
    all[0]?.tryAcquire()?.failure();
    expect(registry.panic().panics).toBe(1);
    expect(faults).toEqual([]);
  });

  it("is bounded: the circuit used least recently leaves, but none that is open, held or has a streak", async () => {
    const clock = createFakeClock();
    const registry = new CircuitBreakerRegistry({ clock }, { maxCircuits: 5 });
    registry.getOrCreate("open").forceOpen("operator");
    registry.getOrCreate("held").hold({ state: "disabled", by: "ada", reason: "test", until: undefined });
    registry.getOrCreate("streak").tryAcquire()?.failure();
    for (const name of ["busy", "idle"]) {
      await clock.advance(10);
      registry.getOrCreate(name);
    }
    await clock.advance(10);
    registry.get("busy")?.tryAcquire()?.success();
    registry.getOrCreate("new");
    expect(registry.getAll().map(({ name }) => name)).toEqual(["open", "held", "streak", "busy", "new"]);
    for (let i = 0; i < 1_000; i += 1) registry.getOrCreate(`tenant-${i}`);
    expect(registry.getAll()).toHaveLength(5);
    expect(registry.get("open")?.getState().state).toBe("open");
  });

  it("lets the one leave that was made first, where none was used", () => {
    const registry = new CircuitBreakerRegistry({ clock: createFakeClock() }, { maxCircuits: 2 });
    for (const name of ["first", "second", "third"]) registry.getOrCreate(name);
    expect(registry.getAll().map(({ name }) => name)).toEqual(["second", "third"]);
  });

  it("exceeds its bound rather than forget a circuit that protects something", () => {
    const registry = new CircuitBreakerRegistry({}, { maxCircuits: 2 });
    for (let i = 0; i < 4; i += 1) registry.getOrCreate(`svc-${i}`).forceOpen("operator");
    expect(registry.getAll()).toHaveLength(4);
  });

  it("goes back to its bound once those that had to stay have come to rest", () => {
    const registry = new CircuitBreakerRegistry({ clock: createFakeClock() }, { maxCircuits: 5 });
    for (let i = 0; i < 20; i += 1) registry.getOrCreate(`svc-${i}`).tryAcquire()?.failure();
    expect(registry.getAll()).toHaveLength(20);
    for (const breaker of registry.getAll()) breaker.reset("operator");
    for (let i = 0; i < 20; i += 1) registry.getOrCreate(`new-${i}`);
    expect(registry.getAll().map(({ name }) => name)).toEqual([15, 16, 17, 18, 19].map((i) => `new-${i}`));
  });

  it("makes a circuit at the same cost however many had to stay, and finds the one that may leave by and by", () => {
    let reads = 0;
    const still = createFakeClock();
    const clock = { ...still, monotonic: () => ++reads && still.monotonic() };
    const registry = new CircuitBreakerRegistry({ clock }, { maxCircuits: 1 });
    for (let i = 0; i < 1_500; i += 1) registry.getOrCreate(`svc-${i}`).tryAcquire()?.failure();
    reads = 0;
    registry.getOrCreate("one more");
    expect(reads).toBeLessThan(1_100);
    registry.get("svc-1200")?.reset("operator");
    for (let i = 0; i < 4; i += 1) registry.getOrCreate(`other-${i}`).tryAcquire()?.failure();
    expect(registry.get("svc-1200")).toBeUndefined();
  });

  it.each([undefined, null, 5, {}, Symbol("x")])("refuses %s for a name", (name) => {
    const refusal = expect.objectContaining({ code: "CONFIGURATION_INVALID" });
    expect(() => new CircuitBreakerRegistry().getOrCreate(name as string)).toThrow(refusal);
  });

  it("refuses a bound that is none", () => {
    expect(() => new CircuitBreakerRegistry({}, { maxCircuits: 0 })).toThrow(/\[1, 1000000\], got 0/);
    expect(() => new CircuitBreakerRegistry({}, { parentShare: 1.1 })).toThrow(/parentShare .* got 1.1/);
    expect(() => new CircuitBreakerRegistry({}, { maxCircuits: 1_000_001 })).toThrow(/\[1, 1000000\], got 1000001/);
    for (const panicShare of [-0.1, 1.1]) {
      expect(() => new CircuitBreakerRegistry({}, { panicShare })).toThrow(
        `panicShare must be in [0, 1], got ${panicShare}`,
      );
    }
    expect(new CircuitBreakerRegistry({}, { maxCircuits: 1_000_000 }).getAll()).toEqual([]);
  });

  it("says when a circuit would have opened that only measures, or by a candidate that looks on", () => {
    const warnings: unknown[] = [];
    const notices: unknown[] = [];
    const logger = {
      ...silentLogger,
      warn: (fields: object, message: string) => void warnings.push([fields, message]),
    };
    const registry = new CircuitBreakerRegistry({ logger, onNotice: (notice) => notices.push(notice) });
    const measuring = registry.getOrCreate("measuring", { failureThreshold: 1 });
    measuring.hold({ state: "metrics_only", by: "ada", reason: "trial", until: undefined });
    const watched = registry.getOrCreate("watched");
    watched.shadow({ failureThreshold: 1 });
    for (const circuit of [measuring, watched]) circuit.tryAcquire()?.failure();
    const common = { event: "circuit", reason: "failure_threshold", failureCount: 1 };
    expect(warnings).toEqual([
      [
        { ...common, subject: "measuring", rule: "metrics_only" },
        'circuit "measuring" would have opened by its rule, but only measures',
      ],
      [{ ...common, subject: "watched", rule: "shadow" }, 'circuit "watched" would have opened by its shadow rule'],
    ]);
    expect(notices).toMatchObject([{ circuitName: "measuring" }, { circuitName: "watched" }]);
  });

  it("passes the circuit's name to classify and enforce", async () => {
    const registry = new CircuitBreakerRegistry({
      classify: (_error, name) => (name === "calm" ? "ignored" : "failure"),
      enforce: (name) => name !== "shadow",
    });
    for (const name of ["calm", "shadow", "strict"]) {
      const breaker = registry.getOrCreate(name, { failureThreshold: 1 });
      await breaker.execute(() => Promise.reject(new Error("boom"))).catch(() => {});
    }
    expect(registry.getAll().map((breaker) => breaker.getState().state)).toEqual(["closed", "open", "open"]);
    expect(registry.get("shadow")?.tryAcquire()).toBeDefined();
    expect(registry.get("strict")?.tryAcquire()).toBeUndefined();
  });

  it("tells listeners of circuits and transitions until they leave; one that throws disturbs nobody", () => {
    const faults: unknown[] = [];
    const heard: string[] = [];
    const registry = new CircuitBreakerRegistry({ onFault: (fault) => faults.push(fault) });
    registry.subscribe({
      created: () => {
        throw new Error("boom");
      },
    });
    registry.subscribe({ moved: () => undefined });
    const leave = registry.subscribe({
      created: ({ name }) => heard.push(`created ${name}`),
      transitioned: ({ to }, breaker) => heard.push(`${breaker.name} ${to}`),
    });
    registry.getOrCreate("a").forceOpen("repair");
    leave();
    registry.getOrCreate("a").reset("repair");
    expect(heard).toEqual(["created a", "a open"]);
    expect(faults).toHaveLength(1);
  });

  it("holds back the calls of circuits made before and after, until it is ready", async () => {
    const registry = new CircuitBreakerRegistry();
    const early = registry.getOrCreate("early");
    let ready: () => void = () => {};
    registry.waitFor(new Promise<void>((resolve) => (ready = resolve)));
    const late = registry.getOrCreate("late");
    let ran = 0;
    const calls = [early, late].map((breaker) => breaker.execute(() => (ran += 1)));
    await new Promise((resolve) => setImmediate(resolve));
    expect(ran).toBe(0);
    ready();
    await Promise.all(calls);
    expect(ran).toBe(2);
    expect(registry.getOrCreate("later").ready).toBeUndefined();
  });

  it("lets calls through once what they waited for has failed, and says so", async () => {
    const faults: unknown[] = [];
    const away = new Error("the store is away");
    const registry = new CircuitBreakerRegistry({ onFault: (fault) => faults.push(fault) });
    registry.waitFor(Promise.reject(away));
    expect(await registry.getOrCreate("a").execute(() => "answer")).toBe("answer");
    expect(faults).toEqual([away]);
  });

  it("has its circuits' deadlines where it is told to", () => {
    const { timers } = new CircuitBreakerRegistry();
    expect(new CircuitBreakerRegistry({ timers }).timers).toBe(timers);
    expect(new CircuitBreakerRegistry().timers).not.toBe(timers);
  });

  it("holds back the calls of circuits to come until the last of those that were waited for is there", async () => {
    const registry = new CircuitBreakerRegistry();
    let first: () => void = () => {};
    registry.waitFor(new Promise<void>((resolve) => (first = resolve)));
    registry.waitFor(new Promise<void>(() => undefined));
    first();
    await new Promise((resolve) => setImmediate(resolve));
    expect(registry.getOrCreate("late").ready).toBeDefined();
  });
});
