import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createNetworkWatch, kindOf, type WatchedService } from "../../server/guard/network-watch.js";
import { FailoverStrategy } from "../../server/recovery/failover-strategy.js";
import { createFakeClock } from "../support/fake-clock.js";
import {
  createGuardHarness,
  type GuardHarness,
  type GuardHarnessOptions,
  httpError,
  refusedConnection,
  settled,
} from "./guard-harness.js";

interface Service extends WatchedService {
  answeredAt: number;
}

function createWatch(names: readonly string[], random = () => 0) {
  const services = names.map((name): Service => ({ name, answeredAt: Number.NEGATIVE_INFINITY }));
  const wentDown: (readonly string[])[] = [];
  const watch = createNetworkWatch(
    { random, onDown: (suspects) => wentDown.push([...suspects.keys()]) },
    () => services,
  );
  const serviceAt = (index: number): Service => services[index] ?? { name: "none", answeredAt: 0 };
  return { watch, services, serviceAt, wentDown };
}

describe("the network is to blame", () => {
  it("when two services were not reached and no other answered", () => {
    const { watch, serviceAt, wentDown } = createWatch(["llm:a", "llm:b"]);
    expect(watch.failed(serviceAt(0), 0)).toBe(false);
    expect(watch.failed(serviceAt(1), 1)).toBe(true);
    expect(wentDown).toEqual([["llm:a", "llm:b"]]);
    expect(watch.admit(serviceAt(0), 2)).toBe("refused");
  });

  it("not when one service alone was not reached, however often", () => {
    const { watch, serviceAt } = createWatch(["llm:a", "llm:b"]);
    for (let at = 0; at < 20; at += 1) expect(watch.failed(serviceAt(0), at)).toBe(false);
    expect(watch.admit(serviceAt(0), 20)).toBe("free");
  });

  it("not while another service of the kind has answered lately", () => {
    const { watch, serviceAt } = createWatch(["llm:a", "llm:b", "llm:c"]);
    serviceAt(2).answeredAt = 5_000;
    watch.failed(serviceAt(0), 6_000);
    expect(watch.failed(serviceAt(1), 6_001)).toBe(false);
    expect(watch.failed(serviceAt(1), 15_000)).toBe(false);
    expect(watch.failed(serviceAt(1), 15_001)).toBe(true);
  });

  it("not when services fail once or twice that answered a moment ago, which is chance where many are asked", () => {
    const { watch, serviceAt, wentDown } = createWatch(["llm:a", "llm:b"]);
    serviceAt(0).answeredAt = 5_000;
    const failures: [index: number, at: number][] = [
      [0, 5_001],
      [1, 5_002],
      [0, 5_003],
      [1, 5_004],
      [0, 5_005],
    ];
    for (const [index, at] of failures) expect(watch.failed(serviceAt(index), at)).toBe(false);
    expect(watch.failed(serviceAt(1), 5_006)).toBe(true);
    expect(wentDown).toEqual([["llm:a", "llm:b"]]);
  });

  it("by one failure of each where nobody has answered for a second", () => {
    const { watch, serviceAt } = createWatch(["llm:a", "llm:b"]);
    serviceAt(0).answeredAt = 5_000;
    watch.failed(serviceAt(0), 5_900);
    expect(watch.failed(serviceAt(1), 6_001)).toBe(true);
  });

  it("not for failures that are far apart", () => {
    const { watch, serviceAt } = createWatch(["llm:a", "llm:b"]);
    watch.failed(serviceAt(0), 0);
    expect(watch.failed(serviceAt(1), 10_001)).toBe(false);
  });
});

describe("while it is down", () => {
  const downAt = (now: number) => {
    const made = createWatch(["llm:a", "llm:b", "llm:c"]);
    made.watch.failed(made.serviceAt(0), now);
    made.watch.failed(made.serviceAt(1), now);
    return made;
  };

  it("admits one probe when its hold is over, and refuses the rest", () => {
    const { watch, serviceAt } = downAt(0);
    expect(watch.admit(serviceAt(0), 499)).toBe("refused");
    expect(watch.admit(serviceAt(1), 500)).toBe("probe");
    expect(watch.admit(serviceAt(0), 501)).toBe("refused");
  });

  it("asks a service that was not asked yet, whose answer ends it", () => {
    const { watch, serviceAt } = downAt(0);
    expect(watch.admit(serviceAt(2), 1)).toBe("free");
    watch.answered();
    expect(watch.admit(serviceAt(0), 2)).toBe("free");
  });

  it("holds twice as long after each failed probe, up to five seconds", () => {
    const { watch, serviceAt } = downAt(0);
    let now = 0;
    const holds = [];
    for (let probe = 0; probe < 6; probe += 1) {
      const holdMs = watch.holdsForMs(serviceAt(0), now);
      holds.push(holdMs);
      now += holdMs;
      expect(watch.admit(serviceAt(0), now)).toBe("probe");
      expect(watch.failed(serviceAt(0), now)).toBe(true);
    }
    expect(holds).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  });

  it("admits another probe when one told nothing, and when one does not come back", () => {
    const { watch, serviceAt } = downAt(0);
    expect(watch.admit(serviceAt(0), 500)).toBe("probe");
    watch.returned();
    expect(watch.admit(serviceAt(0), 501)).toBe("probe");
    expect(watch.admit(serviceAt(0), 10_500)).toBe("refused");
    expect(watch.admit(serviceAt(0), 10_501)).toBe("probe");
  });

  it("spreads the probes of a fleet", () => {
    const { watch, serviceAt } = createWatch(["llm:a", "llm:b"], () => 0.5);
    watch.failed(serviceAt(0), 0);
    watch.failed(serviceAt(1), 0);
    expect(watch.holdsForMs(serviceAt(0), 0)).toBe(625);
  });

  it("refuses suspects only, admits at most one probe at once, and any answer ends it", () => {
    const index = fc.integer({ min: 0, max: 2 });
    const step = fc.record({
      type: fc.constantFrom("admit", "failed", "answered", "returned"),
      index,
      afterMs: fc.nat(3_000),
    });
    fc.assert(
      fc.property(fc.array(step, { size: "max", maxLength: 100 }), (steps) => {
        const { watch, serviceAt } = createWatch(["llm:a", "llm:b", "llm:c"]);
        const failing = new Set<string>();
        let now = 0;
        let probeUntil = Number.NEGATIVE_INFINITY;
        for (const { type, index: at, afterMs } of steps) {
          now += afterMs;
          const service = serviceAt(at);
          switch (type) {
            case "admit": {
              const admission = watch.admit(service, now);
              if (admission !== "free") expect(failing).toContain(service.name);
              if (admission === "probe") {
                expect(now).toBeGreaterThanOrEqual(probeUntil);
                probeUntil = now + 10_000;
              }
              break;
            }
            case "failed":
              failing.add(service.name);
              watch.failed(service, now);
              probeUntil = Number.NEGATIVE_INFINITY;
              break;
            case "answered":
              failing.clear();
              service.answeredAt = now;
              watch.answered();
              probeUntil = Number.NEGATIVE_INFINITY;
              for (const each of [0, 1, 2]) expect(watch.admit(serviceAt(each), now)).toBe("free");
              break;
            case "returned":
              watch.returned();
              probeUntil = Number.NEGATIVE_INFINITY;
              break;
          }
        }
      }),
    );
  });
});

it("takes the part before the colon for a service's kind", () => {
  expect([kindOf("llm:openai/gpt"), kindOf("cache")]).toEqual(["llm", "cache"]);
});

describe("guards whose providers cannot be reached", () => {
  /** No retries, which would wait for the clock. */
  const createHarness = (options: GuardHarnessOptions = {}) =>
    createGuardHarness({ ...options, strategies: [new FailoverStrategy({ clock: createFakeClock() })] });
  const unreachable = () => Promise.reject(refusedConnection());
  const operationOf = ({ guards }: GuardHarness, ask: () => Promise<string>) =>
    guards.operation("ask", { targets: { "llm:a": ask, "llm:b": ask }, idempotent: true });

  it("keep their circuits closed, fail fast, and are released by the first call that gets through", async () => {
    const harness = createHarness({ defaults: { failureThreshold: 5 } });
    let reachable = false;
    let asked = 0;
    const ask = operationOf(harness, () => {
      asked += 1;
      return reachable ? Promise.resolve("answer") : unreachable();
    });
    for (let call = 0; call < 50; call += 1) await settled(ask());
    expect(asked).toBeLessThanOrEqual(3);
    expect(harness.registry.getAll().map((circuit) => circuit.getState().state)).toEqual(["closed", "closed"]);
    expect(await settled(ask())).toMatchObject({ error: { reason: "network_down", code: "SERVICE_UNAVAILABLE" } });

    reachable = true;
    await harness.clock.advance(500);
    expect(await ask()).toBe("answer");
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(["answer", "answer", "answer"]);
    expect(harness.faults).toEqual([]);
  });

  it("close a circuit again that only the network has opened", async () => {
    const harness = createHarness({ defaults: { failureThreshold: 2 } });
    const [a, b] = [harness.guards.guard("llm:a"), harness.guards.guard("llm:b")];
    await settled(Promise.all([a.execute(unreachable), a.execute(unreachable)]));
    expect(harness.registry.get("llm:a")?.getState().state).toBe("open");
    await settled(b.execute(unreachable));
    expect(harness.registry.get("llm:a")?.getState().state).toBe("closed");
    expect(harness.warnings.join()).toContain("the network does not reach llm:a, llm:b");
  });

  it("leave a circuit open that the service itself has opened", async () => {
    const harness = createHarness({ defaults: { failureThreshold: 2 } });
    const [a, b] = [harness.guards.guard("llm:a"), harness.guards.guard("llm:b")];
    await settled(a.execute(() => Promise.reject(httpError(503))));
    await settled(a.execute(unreachable));
    await harness.clock.advance(11_000);
    await settled(b.execute(unreachable));
    expect(harness.registry.get("llm:a")?.getState().state).toBe("open");
  });

  it("do nothing of it in shadow mode", async () => {
    const harness = createHarness({ mode: "shadow" });
    let asked = 0;
    for (let call = 0; call < 10; call += 1) {
      for (const name of ["llm:a", "llm:b"]) {
        await settled(
          harness.guards.guard(name).execute(() => {
            asked += 1;
            return unreachable();
          }),
        );
      }
    }
    expect(asked).toBe(20);
  });

  it("give the probe back when its caller leaves, so that the next one probes", async () => {
    const harness = createHarness();
    const ask = harness.guards.guard("llm:a");
    await settled(ask.execute(unreachable));
    await settled(harness.guards.guard("llm:b").execute(unreachable));
    await harness.clock.advance(500);
    const leaving = new AbortController();
    const probe = settled(ask.execute(() => new Promise<string>(() => {}), { signal: leaving.signal }));
    expect(await settled(ask.execute(async () => "too early"))).toMatchObject({ error: { reason: "network_down" } });
    leaving.abort(new Error("left"));
    await probe;
    expect(await ask.execute(async () => "answer")).toBe("answer");
  });
});
