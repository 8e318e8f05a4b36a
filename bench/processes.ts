/** Runs a scenario in processes of its own and makes one result of theirs: medians, and how far the processes lie apart. */
import { fork } from "node:child_process";
import { type Budget, type Group, type Measurement, median, type Scenario, type ScenarioResult } from "./harness.js";

/** One scenario's code must not make another's slower: types seen, hooks switched on. */
export async function runInProcesses(
  { name, processes = 1, execArgv = [] }: Scenario,
  file: string,
  args: readonly string[],
): Promise<readonly ScenarioResult[]> {
  const results: ScenarioResult[] = [];
  for (let at = 1; at <= processes; at += 1) {
    process.stderr.write(`${name}${processes > 1 ? ` ${at} of ${processes}` : ""} …\n`);
    results.push(await runInProcess(file, [...args, name], execArgv));
  }
  return results;
}

function runInProcess(file: string, args: readonly string[], execArgv: readonly string[]): Promise<ScenarioResult> {
  return new Promise((resolve, reject) => {
    const child = fork(file, args, { execArgv: [...process.execArgv, ...execArgv] });
    let result: ScenarioResult | undefined;
    let exit: { readonly code: number | null } | undefined;
    let isDisconnected = false;
    // The end of a process may be known before all that it said was read.
    const settle = () => {
      if (exit === undefined || !isDisconnected) return;
      if (result !== undefined) resolve(result);
      else reject(new Error(`the scenario "${args.at(-1)}" ended with code ${exit.code} and without a result`));
    };
    // The child is this program: what it sends is what the scenario's `run` gave.
    child.once("message", (message) => {
      result = message as ScenarioResult;
    });
    child.once("error", reject);
    child.once("disconnect", () => {
      isDisconnected = true;
      settle();
    });
    child.once("exit", (code) => {
      exit = { code };
      settle();
    });
  });
}

/** In the child: sends a result and lets the process end, in this order: a channel that is closed drops what it has to send. */
export async function tellParent(result: ScenarioResult): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.send?.(result, undefined, undefined, (error) => (error ? reject(error) : resolve()));
  });
  process.disconnect();
}

/** @param results of one scenario: the same groups, contenders and budgets in each */
export function merged(results: readonly ScenarioResult[]): ScenarioResult {
  const [first] = results;
  if (first === undefined) return { groups: [], budgets: [] };
  return {
    groups: first.groups.map((group, at) =>
      mergedGroup(
        results.flatMap(({ groups }) => groups[at] ?? []),
        group.title,
      ),
    ),
    budgets: first.budgets.map((budget, at) =>
      mergedBudget(
        results.flatMap(({ budgets }) => budgets[at] ?? []),
        budget,
      ),
    ),
    notes: [...new Set(results.flatMap(({ notes }) => notes ?? []))],
  };
}

function mergedGroup(groups: readonly Group[], title: string): Group {
  const names = groups[0]?.measurements.map(({ name }) => name) ?? [];
  return {
    title,
    measurements: names.map((name, at): Measurement => {
      const same = groups.flatMap(({ measurements }) => measurements[at] ?? []);
      const ratios = same.map(({ ratio }) => ratio);
      return {
        name,
        nsPerOp: median(same.map(({ nsPerOp }) => nsPerOp)),
        ratio: median(ratios),
        addedNs: median(same.map(({ addedNs }) => addedNs)),
        rounds: same.flatMap(({ rounds }) => rounds),
        spread: spreadOf(ratios),
      };
    }),
  };
}

function mergedBudget(budgets: readonly Budget[], budget: Budget): Budget {
  const all = budgets.map(({ measured }) => measured);
  return { ...budget, measured: median(all), spread: budget.spread ?? spreadOf(all) };
}

function spreadOf(values: readonly number[]) {
  return values.length > 1 ? { lowest: Math.min(...values), highest: Math.max(...values) } : undefined;
}
