/**
 * `npm run bench [-- name…]`: runs the scenarios, each in a process of its own, and prints one table. Exits with 0 whether
 * budgets are met or not: a busy machine is no broken build. `--record` keeps the ratios in record.json; `--check` exits with
 * 1 when one is more than 10 % worse than there, three times in a row.
 */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Scenario, ScenarioResult } from "./harness.js";
import { type BenchRecord, ratiosOf, readRecord, worseThan, writeRecord } from "./record.js";
import { call } from "./scenarios/call.js";
import { circuit } from "./scenarios/circuit.js";
import { commit } from "./scenarios/commit.js";
import { guard } from "./scenarios/guard.js";
import { middleware } from "./scenarios/middleware.js";
import { points } from "./scenarios/points.js";
import { rangeRead } from "./scenarios/range-read.js";
import { record } from "./scenarios/record.js";
import { tableOf } from "./table.js";

const SCENARIOS: readonly Scenario[] = [circuit, guard, middleware, record, points, commit, rangeRead, call];
/** Names for several. */
const SUITES: Readonly<Record<string, readonly string[]>> = {
  metrics: ["middleware", "record", "points", "commit", "range-read"],
};
/** A ratio that is worse this often in a row is worse: once may be the neighbours. */
const ATTEMPTS = 3;
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
  const flags = args.filter((arg) => arg.startsWith("--"));
  const asked = args.filter((arg) => !arg.startsWith("--")).flatMap((name) => SUITES[name] ?? [name]);
  const unknown = [
    ...asked.filter((name) => !known.includes(name)),
    ...flags.filter((flag) => !["--record", "--check"].includes(flag)),
  ];
  if (unknown.length > 0) {
    const legal = [...known, ...Object.keys(SUITES), "--record", "--check"];
    console.error(`unknown: ${unknown.join(", ")}; there are ${legal.join(", ")}`);
    process.exitCode = 1;
    return;
  }
  const names = asked.length > 0 ? asked : known;
  if (flags.includes("--check")) return check(names, readRecord());
  const results = new Map<string, ScenarioResult>();
  for (const name of names) {
    process.stderr.write(`${name} …\n`);
    results.set(name, await runInChild(name));
  }
  console.log(tableOf([...results.values()]));
  if (!flags.includes("--record")) return;
  writeRecord(Object.fromEntries([...results].map(([name, result]) => [name, ratiosOf(result)])), readRecord());
}

async function check(names: readonly string[], record: BenchRecord): Promise<void> {
  for (const name of names) {
    let worse: readonly string[] = [];
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      process.stderr.write(`${name} …\n`);
      const found = worseThan(record[name] ?? {}, ratiosOf(await runInChild(name)));
      const whats = new Set(worse.map(whatOf));
      worse = attempt === 1 ? found : found.filter((line) => whats.has(whatOf(line)));
      if (worse.length === 0) break;
    }
    for (const line of worse) console.error(`worse: ${name}: ${line}`);
    if (worse.length > 0) process.exitCode = 1;
  }
}

function whatOf(line: string): string {
  return line.slice(0, line.lastIndexOf(": "));
}

await main(process.argv.slice(2));
