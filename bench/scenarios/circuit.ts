/** A circuit around work that succeeds, and a circuit that is open, beside cockatiel's and opossum's. */
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
import { atMost, compare, find, ratioOf, type Scenario } from "../harness.js";

const FOR_EVER_MS = 2 ** 30;
const work = async () => 1;
const boom = async () => {
  throw new Error("down");
};
const swallow = () => {};

function cockatiel(breaker: ConsecutiveBreaker | SamplingBreaker) {
  return circuitBreaker(handleAll, { halfOpenAfter: FOR_EVER_MS, breaker });
}

export const circuit: Scenario = {
  name: "circuit",
  processes: 3,
  async run() {
    const ours = new CircuitBreaker("bench");
    const consecutive = cockatiel(new ConsecutiveBreaker(5));
    const sampling = cockatiel(new SamplingBreaker({ threshold: 0.5, duration: 10_000 }));
    const sampled = cockatiel(new SamplingBreaker({ threshold: 0.5, duration: 10_000 }));
    const timed = wrap(sampled, timeout(30_000, TimeoutStrategy.Aggressive));
    const opossum = new Opossum(work, { timeout: false, volumeThreshold: 5 });
    const opossumTimed = new Opossum(work, { timeout: 30_000, volumeThreshold: 5 });
    const closed = await compare("circuit, closed", { name: "bare await", run: work }, [
      { name: "paramedic execute (deadline included)", run: () => ours.execute(work) },
      {
        name: "paramedic permit (no deadline)",
        run: async () => {
          const permit = ours.tryAcquire();
          const value = await work();
          permit?.success();
          return value;
        },
      },
      { name: "cockatiel consecutive", run: () => consecutive.execute(work) },
      { name: "cockatiel sampling", run: () => sampling.execute(work) },
      { name: "opossum", run: () => opossum.fire() },
      { name: "opossum, timeout", run: () => opossumTimed.fire() },
      { name: "cockatiel sampling, timeout", run: () => timed.execute(work) },
    ]);

    const oursOpen = new CircuitBreaker("bench", { resetTimeoutMs: FOR_EVER_MS });
    oursOpen.forceOpen("operator");
    const cockatielOpen = cockatiel(new ConsecutiveBreaker(1));
    await cockatielOpen.execute(boom).catch(swallow);
    const opossumOpen = new Opossum(boom, { timeout: false, resetTimeout: FOR_EVER_MS });
    await opossumOpen.fire().catch(swallow);
    const reused = new Error("reused");
    const open = await compare(
      "circuit, open, by throw",
      { name: "a reused error, rejected", run: () => Promise.reject(reused).catch(swallow) },
      [
        { name: "paramedic", run: () => oursOpen.execute(work).catch(swallow) },
        { name: "cockatiel", run: () => cockatielOpen.execute(work).catch(swallow) },
        { name: "opossum", run: () => opossumOpen.fire().catch(swallow) },
      ],
    );
    const gate = await compare(
      "circuit, open, by gate",
      { name: "a function that gives undefined", run: () => undefined },
      [{ name: "paramedic tryAcquire", run: () => oursOpen.tryAcquire() }],
    );
    for (const breaker of [opossum, opossumTimed, opossumOpen]) breaker.shutdown();

    const execute = "paramedic execute (deadline included)";
    return {
      groups: [closed, open, gate],
      budgets: [
        atMost("circuit execute to cockatiel SamplingBreaker", ratioOf(closed, execute, "cockatiel sampling"), 1),
        atMost("  stretch: to ConsecutiveBreaker", ratioOf(closed, execute, "cockatiel consecutive"), 1),
        atMost(
          "  permit to ConsecutiveBreaker",
          ratioOf(closed, "paramedic permit (no deadline)", "cockatiel consecutive"),
          1,
        ),
        atMost("open, thrown, to cockatiel", ratioOf(open, "paramedic", "cockatiel"), 0.6),
        atMost("open, thrown, to opossum", ratioOf(open, "paramedic", "opossum"), 0.6),
        atMost("open, by gate", find(gate, "paramedic tryAcquire").nsPerOp, 100, "ns"),
      ],
      notes: [
        "The circuit counts consecutive failures; it has no sliding window yet, which would cost a clock reading more.",
      ],
    };
  },
};
