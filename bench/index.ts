/**
 * `npm run bench [-- name…]`: runs the scenarios, each in processes of its own, and prints one table. Exits with 0 whether
 * budgets are met or not: a busy machine is no broken build. `--record` keeps the ratios in record.json. `--check` exits with
 * 1 when one is more than 10 % worse than there: what looks worse is measured again, twice, and the median of all decides.
 */
import { fileURLToPath } from "node:url";
import type { Scenario, ScenarioResult } from "./harness.js";
import { merged, runInProcesses, tellParent } from "./processes.js";
import { type BenchRecord, type Compared, compareWith, isPassed, ratiosOf, readRecord, writeRecord } from "./record.js";
import { call } from "./scenarios/call.js";
import { circuit } from "./scenarios/circuit.js";
import { commit } from "./scenarios/commit.js";
import { guard } from "./scenarios/guard.js";
import { guardFaults } from "./scenarios/guard-faults.js";
import { http } from "./scenarios/http.js";
import { middleware } from "./scenarios/middleware.js";
import { points } from "./scenarios/points.js";
import { rangeRead } from "./scenarios/range-read.js";
import { record } from "./scenarios/record.js";
import { checkTableOf, tableOf } from "./table.js";

const SCENARIOS: readonly Scenario[] = [
  circuit,
  guard,
  guardFaults,
  middleware,
  record,
  points,
  commit,
  rangeRead,
  http,
  call,
];
/** Names for several. */
const SUITES: Readonly<Record<string, readonly string[]>> = {
  guard: ["guard", "guard-faults"],
  metrics: ["middleware", "record", "points", "commit", "range-read", "http"],
};
const ATTEMPTS = 3;
const CHILD = "--child";
const FLAGS = ["--record", "--check"];

const run = (scenario: Scenario) => runInProcesses(scenario, fileURLToPath(import.meta.url), [CHILD]);

async function main(args: readonly string[]): Promise<void> {
  const [first, ...rest] = args;
  if (first === CHILD) {
    const scenario = SCENARIOS.find(({ name }) => name === rest[0]);
    if (scenario !== undefined) await tellParent(await scenario.run());
    return;
  }
  const flags = args.filter((arg) => arg.startsWith("--"));
  const asked = args.filter((arg) => !arg.startsWith("--")).flatMap((name) => SUITES[name] ?? [name]);
  const known = SCENARIOS.map(({ name }) => name);
  const unknown = [...asked.filter((name) => !known.includes(name)), ...flags.filter((flag) => !FLAGS.includes(flag))];
  if (unknown.length > 0) {
    console.error(
      `unknown: ${unknown.join(", ")}; there are ${[...known, ...Object.keys(SUITES), ...FLAGS].join(", ")}`,
    );
    process.exitCode = 1;
    return;
  }
  const scenarios = asked.length > 0 ? SCENARIOS.filter(({ name }) => asked.includes(name)) : SCENARIOS;
  if (flags.includes("--check")) return check(scenarios, readRecord());
  const results = new Map<string, ScenarioResult>();
  for (const scenario of scenarios) results.set(scenario.name, merged(await run(scenario)));
  console.log(tableOf([...results.values()]));
  if (!flags.includes("--record")) return;
  writeRecord(Object.fromEntries([...results].map(([name, result]) => [name, ratiosOf(result)])), readRecord());
}

async function check(scenarios: readonly Scenario[], record: BenchRecord): Promise<void> {
  const compared: Compared[] = [];
  for (const scenario of scenarios) {
    const results: ScenarioResult[] = [];
    let lines: readonly Compared[] = [];
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      results.push(...(await run(scenario)));
      lines = compareWith(record[scenario.name] ?? {}, merged(results));
      if (lines.every(({ verdict }) => verdict !== "worse")) break;
    }
    compared.push(...lines);
  }
  console.log(checkTableOf(compared));
  if (!isPassed(compared)) process.exitCode = 1;
}

await main(process.argv.slice(2));
