/** What one call pays in all, without HTTP: middleware, call linking and a guard, with everything behind them running. */
import { performance } from "node:perf_hooks";
import { initTRPC } from "@trpc/server";
import { atMost, quantile, type Scenario } from "../harness.js";
import { withParamedic } from "../with-paramedic.js";

const CALLS = 20_000;
const WARM_UP_CALLS = 5_000;
/** Calls in a row before timers get their turn. */
const RUN = 20;

const work = async () => 1;

export const call: Scenario = {
  name: "call",
  async run() {
    const t = initTRPC.create();
    const plain = t.createCallerFactory(t.router({ ask: t.procedure.query(work) }))({});
    // Before Paramedic exists: its call linking makes every await of the process slower.
    const without = await durations(() => plain.ask());
    const withAll = await withParamedic(async (paramedic) => {
      const service = paramedic.guard("http:bench");
      const procedure = t.procedure.use(paramedic.middleware());
      const caller = t.createCallerFactory(t.router({ ask: procedure.query(() => service.execute(work)) }))({});
      return durations(() => caller.ask());
    });
    const pays = (q: number) => (quantile(withAll, q) - quantile(without, q)) * 1_000;
    return {
      groups: [],
      budgets: [
        atMost("a call pays in all, p50", pays(0.5), 2_000, "µs"),
        atMost("a call pays in all, p99", pays(0.99), 2_000, "µs"),
      ],
      notes: [
        `Without Paramedic: p50 ${micros(without, 0.5)}, p99 ${micros(without, 0.99)}; ` +
          `with everything: p50 ${micros(withAll, 0.5)}, p99 ${micros(withAll, 0.99)}; ${CALLS} calls each.`,
      ],
    };
  },
};

async function durations(run: () => Promise<unknown>): Promise<number[]> {
  const taken: number[] = [];
  for (let i = 0; i < WARM_UP_CALLS + CALLS; i += 1) {
    const startedAt = performance.now();
    await run();
    if (i >= WARM_UP_CALLS) taken.push(performance.now() - startedAt);
    if (i % RUN === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return taken;
}

function micros(values: readonly number[], q: number): string {
  return `${(quantile(values, q) * 1_000).toFixed(1)} µs`;
}
