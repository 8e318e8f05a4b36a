/** Circuits around work that succeeds and work that fails, open ones, idle ones, and what calls leave behind; beside cockatiel's and opossum's. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  ConsecutiveBreaker,
  circuitBreaker,
  handleAll,
  SamplingBreaker,
  TimeoutStrategy,
  timeout,
  wrap,
} from "cockatiel";
import Opossum from "opossum";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { atMost, type Budget, compare, find, type Group, ratioOf, type Scenario } from "../harness.js";
import { type Held, heldBy } from "../held.js";

const FOR_EVER_MS = 2 ** 30;
const NEVER = 1_000_000;
const WINDOW_MS = 10_000;
const IDLE = 10_000;
const SETTLED = 100_000;
const work = async () => 1;
const failure = new Error("down");
/** The same error each time: what a circuit costs, not what a stack does. */
const fail = async () => {
  throw failure;
};
const swallow = () => {};

function cockatiel(breaker: ConsecutiveBreaker | SamplingBreaker) {
  return circuitBreaker(handleAll, { halfOpenAfter: FOR_EVER_MS, breaker });
}
const sampling = (minimumRps?: number) =>
  cockatiel(new SamplingBreaker({ threshold: 0.5, duration: WINDOW_MS, ...(minimumRps && { minimumRps }) }));

const CONSECUTIVE = "paramedic, failures in a row (deadline included)";
const TIME = "paramedic, window of time (deadline included)";

async function closed(): Promise<{ group: Group; budgets: readonly Budget[] }> {
  const consecutive = new CircuitBreaker("consecutive");
  const time = new CircuitBreaker("time", { window: "time", windowMs: WINDOW_MS });
  const peerConsecutive = cockatiel(new ConsecutiveBreaker(5));
  const peerSampling = sampling();
  const opossum = new Opossum(work, { timeout: false, volumeThreshold: 5 });
  const group = await compare("circuit, closed", { name: "bare await", run: work }, [
    { name: CONSECUTIVE, run: () => consecutive.execute(work) },
    { name: TIME, run: () => time.execute(work) },
    {
      name: "paramedic, permit (no deadline)",
      run: async () => {
        const permit = consecutive.tryAcquire();
        const value = await work();
        permit?.success();
        return value;
      },
    },
    { name: "cockatiel consecutive", run: () => peerConsecutive.execute(work) },
    { name: "cockatiel sampling", run: () => peerSampling.execute(work) },
    { name: "opossum", run: () => opossum.fire() },
  ]);
  opossum.shutdown();
  return {
    group,
    budgets: [
      atMost(
        "circuit execute, window of time, to cockatiel SamplingBreaker",
        ratioOf(group, TIME, "cockatiel sampling"),
        1,
      ),
      atMost("  stretch: to ConsecutiveBreaker", ratioOf(group, TIME, "cockatiel consecutive"), 1),
      atMost("  failures in a row, to SamplingBreaker", ratioOf(group, CONSECUTIVE, "cockatiel sampling"), 1),
      atMost(
        "  permit to ConsecutiveBreaker",
        ratioOf(group, "paramedic, permit (no deadline)", "cockatiel consecutive"),
        1,
      ),
    ],
  };
}

async function closedWithAll(): Promise<{ group: Group; budgets: readonly Budget[] }> {
  const time = new CircuitBreaker("time", { window: "time", windowMs: WINDOW_MS });
  const slow = new CircuitBreaker("slow", { window: "time", windowMs: WINDOW_MS, slowCallMs: 1_000 });
  const count = new CircuitBreaker("count", { window: "count", windowCalls: 100 });
  const timed = wrap(sampling(), timeout(30_000, TimeoutStrategy.Aggressive));
  const opossum = new Opossum(work, { timeout: 30_000, volumeThreshold: 5 });
  const ours = "paramedic, window of time and deadline";
  const group = await compare("circuit, closed, window and timeout", { name: "bare await", run: work }, [
    { name: ours, run: () => time.execute(work) },
    { name: "paramedic, and slow calls", run: () => slow.execute(work) },
    { name: "paramedic, window of 100 calls", run: () => count.execute(work) },
    { name: "cockatiel sampling, timeout", run: () => timed.execute(work) },
    { name: "opossum, timeout", run: () => opossum.fire() },
  ]);
  opossum.shutdown();
  return {
    group,
    budgets: [
      atMost("with window and timeout, to opossum", ratioOf(group, ours, "opossum, timeout"), 0.8),
      atMost("  to cockatiel", ratioOf(group, ours, "cockatiel sampling, timeout"), 0.1),
    ],
  };
}

/** Every call fails and none opens, so that windows fill up. */
async function failing(): Promise<{ group: Group; budgets: readonly Budget[] }> {
  const time = new CircuitBreaker("time", { window: "time", windowMs: WINDOW_MS, windowFailures: NEVER });
  const small = new CircuitBreaker("small", { window: "count", windowCalls: 10, windowFailures: NEVER });
  const large = new CircuitBreaker("large", { window: "count", windowCalls: 10_000, windowFailures: NEVER });
  const peerSampling = sampling(NEVER * 1_000);
  const opossum = new Opossum(fail, { timeout: false, volumeThreshold: Number.MAX_SAFE_INTEGER });
  // Full from the beginning, as after a bad minute.
  for (let i = 0; i < 20_000; i += 1) for (const breaker of [time, small, large]) breaker.tryAcquire()?.failure();
  for (let i = 0; i < 5_000; i += 1) await opossum.fire().catch(swallow);
  const group = await compare(
    "circuit, failing, windows full",
    { name: "a rejection", run: () => fail().catch(swallow) },
    [
      { name: "paramedic, window of time", run: () => time.execute(fail).catch(swallow) },
      { name: "paramedic, window of 10 calls", run: () => small.execute(fail).catch(swallow) },
      { name: "paramedic, window of 10,000 calls", run: () => large.execute(fail).catch(swallow) },
      { name: "cockatiel sampling", run: () => peerSampling.execute(fail).catch(swallow) },
      { name: "opossum", run: () => opossum.fire().catch(swallow) },
    ],
  );
  opossum.shutdown();
  return {
    group,
    budgets: [
      atMost(
        "failing: a window of 10,000 calls to one of 10",
        ratioOf(group, "paramedic, window of 10,000 calls", "paramedic, window of 10 calls"),
        1.3,
      ),
      atMost("  window of time, to opossum", ratioOf(group, "paramedic, window of time", "opossum"), 0.2),
    ],
  };
}

async function open(): Promise<{ groups: readonly Group[]; budgets: readonly Budget[] }> {
  const ours = new CircuitBreaker("bench", { resetTimeoutMs: FOR_EVER_MS });
  ours.forceOpen("operator");
  const peer = cockatiel(new ConsecutiveBreaker(1));
  await peer.execute(fail).catch(swallow);
  const opossum = new Opossum(fail, { timeout: false, resetTimeout: FOR_EVER_MS });
  await opossum.fire().catch(swallow);
  const reused = new Error("reused");
  const thrown = await compare(
    "circuit, open, by throw",
    { name: "a reused error, rejected", run: () => Promise.reject(reused).catch(swallow) },
    [
      { name: "paramedic", run: () => ours.execute(work).catch(swallow) },
      { name: "cockatiel", run: () => peer.execute(work).catch(swallow) },
      { name: "opossum", run: () => opossum.fire().catch(swallow) },
    ],
  );
  const gate = await compare(
    "circuit, open, by gate",
    { name: "a function that gives undefined", run: () => undefined },
    [{ name: "paramedic tryAcquire", run: () => ours.tryAcquire() }],
  );
  opossum.shutdown();
  return {
    groups: [thrown, gate],
    budgets: [
      atMost("open, thrown, to cockatiel", ratioOf(thrown, "paramedic", "cockatiel"), 0.6),
      atMost("open, thrown, to opossum", ratioOf(thrown, "paramedic", "opossum"), 0.6),
      atMost("open, by gate", find(gate, "paramedic tryAcquire").nsPerOp, 100, "ns"),
    ],
  };
}

async function idle(): Promise<{ budgets: readonly Budget[]; notes: readonly string[] }> {
  const many = <T>(make: (at: number) => T): Promise<Held> =>
    heldBy(() => Array.from({ length: IDLE }, (_, at) => make(at)));
  const registry = new CircuitBreakerRegistry({}, { maxCircuits: IDLE });
  const ours = await many((at) => registry.getOrCreate(`http:host-${at}`, { window: "time" }));
  const peer = await many(() => sampling());
  const breakers: Opossum[] = [];
  const opossum = await many(() => breakers.push(new Opossum(work)));
  for (const breaker of breakers) breaker.shutdown();
  const line = (name: string, { heapBytes, timers }: Held) =>
    `${name}: ${Math.round(heapBytes / IDLE)} bytes each, ${timers} timers`;
  return {
    budgets: [
      atMost(`${IDLE} idle circuits: timers`, ours.timers, 0, "timers"),
      atMost("  bytes each, to opossum", ours.heapBytes / opossum.heapBytes, 0.3),
    ],
    notes: [
      [`${IDLE} idle circuits`, line("  paramedic", ours), line("  cockatiel", peer), line("  opossum", opossum)].join(
        "\n",
      ),
    ],
  };
}

/** Successes, failures and refusals of circuits that stay, a deadline each. */
async function settled(): Promise<{ budgets: readonly Budget[] }> {
  const circuits = [
    new CircuitBreaker("a", { window: "time" }),
    new CircuitBreaker("b", { window: "time", windowFailures: NEVER }),
    new CircuitBreaker("c", { resetTimeoutMs: FOR_EVER_MS }),
  ];
  const calls = async (count: number) => {
    for (let i = 0; i < count; i += 1) {
      for (const circuit of circuits) await circuit.execute(circuit.name === "a" ? work : fail).catch(swallow);
    }
    // What was just armed is looked through within 20 ms.
    await sleep(100);
  };
  await calls(1_000);
  const { heapBytes, timers } = await heldBy(() => calls(SETTLED));
  return {
    budgets: [
      atMost(`after ${3 * SETTLED} calls that settled: timers`, timers, 0, "timers"),
      atMost("  bytes held for each call", heapBytes / (3 * SETTLED), 1, "bytes"),
    ],
  };
}

export const circuit: Scenario = {
  name: "circuit",
  processes: 3,
  async run() {
    const parts = [await closed(), await closedWithAll(), await failing()];
    const refused = await open();
    const kept = await idle();
    const left = await settled();
    return {
      groups: [...parts.map(({ group }) => group), ...refused.groups],
      budgets: [...parts.flatMap(({ budgets }) => budgets), ...refused.budgets, ...kept.budgets, ...left.budgets],
      notes: kept.notes,
    };
  },
};
