/**
 * `npm run bench [-- name…]`: runs the scenarios, each in a process of its own, and prints one table. Exits with 0 whether
 * budgets are met or not: a busy machine is no broken build.
 */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Scenario, ScenarioResult } from "./harness.js";
import { call } from "./scenarios/call.js";
import { circuit } from "./scenarios/circuit.js";
import { guard } from "./scenarios/guard.js";
import { middleware } from "./scenarios/middleware.js";
import { record } from "./scenarios/record.js";
import { tableOf } from "./table.js";

const SCENARIOS: readonly Scenario[] = [circuit, guard, middleware, record, call];
const CHILD = "--child";

/** One scenario's code must not make another's slower: types seen, hooks switched on. */
function runInChild(name: string): Promise<ScenarioResult> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [CHILD, name]);
    let result: ScenarioResult | undefined;
    // The child is this file: what it sends is what `run` gave.
    child.once("message", (message) => {
      result = message as ScenarioResult;
    });
    child.once("error", reject);
    child.once("exit", (code) => {
      if (result !== undefined) resolve(result);
      else reject(new Error(`the scenario "${name}" ended with code ${code} and without a result`));
    });
  });
}

async function main(args: readonly string[]): Promise<void> {
  const [first, ...rest] = args;
  if (first === CHILD) {
    const result = await SCENARIOS.find(({ name }) => name === rest[0])?.run();
    process.send?.(result);
    process.disconnect();
    return;
  }
  const known = SCENARIOS.map(({ name }) => name);
  const unknown = args.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    console.error(`unknown: ${unknown.join(", ")}; there are ${known.join(", ")}`);
    process.exitCode = 1;
    return;
  }
  const results: ScenarioResult[] = [];
  for (const name of args.length > 0 ? args : known) {
    process.stderr.write(`${name} …\n`);
    results.push(await runInChild(name));
  }
  console.log(tableOf(results));
}

await main(process.argv.slice(2));
