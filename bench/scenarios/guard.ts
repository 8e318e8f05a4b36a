/** A guard with deadline, circuit and rescues around work that succeeds and reads no signal, outside a call. */
import { ConsecutiveBreaker, circuitBreaker, handleAll, retry, TimeoutStrategy, timeout, wrap } from "cockatiel";
import Opossum from "opossum";
import { atMost, compare, ratioOf, type Scenario } from "../harness.js";
import { withParamedic } from "../with-paramedic.js";

const work = async () => 1;

export const guard: Scenario = {
  name: "guard",
  processes: 5,
  run: () =>
    withParamedic(async (paramedic) => {
      const ours = paramedic.guard("http:bench");
      const opossum = new Opossum(work, { timeout: 30_000 });
      const policies = wrap(
        retry(handleAll, { maxAttempts: 3 }),
        circuitBreaker(handleAll, { halfOpenAfter: 60_000, breaker: new ConsecutiveBreaker(5) }),
        timeout(30_000, TimeoutStrategy.Aggressive),
      );
      const group = await compare("guard, succeeding", { name: "bare await", run: work }, [
        { name: "paramedic guard", run: () => ours.execute(work) },
        { name: "opossum, timeout", run: () => opossum.fire() },
        { name: "cockatiel wrap(retry, breaker, timeout)", run: () => policies.execute(work) },
      ]);
      opossum.shutdown();
      const peer = "cockatiel wrap(retry, breaker, timeout)";
      return {
        groups: [group],
        budgets: [
          atMost("guard execute to opossum with timeout", ratioOf(group, "paramedic guard", "opossum, timeout"), 0.5),
          atMost("guard execute to cockatiel wrap", ratioOf(group, "paramedic guard", peer), 1 / 25),
        ],
      };
    }),
};
