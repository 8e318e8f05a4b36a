/**
 * `npm run conformance`: plays every scenario on Paramedic, opossum and cockatiel and prints who passes what. ✓ passed, ✗
 * failed, – the library has no such setting. `-- --why` says where each failed. Exits with 1 when Paramedic fails one.
 */
import { createRequire } from "node:module";
import { cockatiel } from "./cockatiel.js";
import { opossum } from "./opossum.js";
import { paramedic } from "./paramedic.js";
import { play, type Verdict } from "./play.js";
import { SCENARIOS } from "./scenarios.js";

const LIBRARIES = [paramedic, opossum, cockatiel];
const SIGNS = { passed: "✓", failed: "✗", unsupported: "–" } as const satisfies Record<Verdict["is"], string>;

const versionOf = (name: string): string => {
  if (name === paramedic.name) return name;
  const { version } = createRequire(import.meta.url)(`${name}/package.json`) as { version: string };
  return `${name} ${version}`;
};

const headings = LIBRARIES.map(({ name }) => versionOf(name));
const totals = LIBRARIES.map(() => ({ passed: 0, failed: 0, unsupported: 0 }));
const reasons: string[] = [];
console.log(`    ${headings.map((heading) => heading.padEnd(18)).join("")}scenario`);
for (const scenario of SCENARIOS) {
  const cells: string[] = [];
  for (const [at, library] of LIBRARIES.entries()) {
    const verdict = await play(library, scenario);
    const total = totals[at];
    if (total !== undefined) total[verdict.is] += 1;
    cells.push(SIGNS[verdict.is].padEnd(18));
    if (verdict.is !== "passed") reasons.push(`${scenario.id} ${library.name}: ${SIGNS[verdict.is]} ${verdict.why}`);
    if (verdict.is !== "passed" && library === paramedic) process.exitCode = 1;
  }
  console.log(`${String(scenario.id).padStart(2)}  ${cells.join("")}${scenario.title}`);
}
console.log(`\n    ${totals.map(({ passed }) => `${passed} of ${SCENARIOS.length}`.padEnd(18)).join("")}passed`);
console.log(`    ${totals.map(({ unsupported }) => String(unsupported).padEnd(18)).join("")}not to be said`);
if (process.argv.includes("--why")) console.log(`\n${reasons.join("\n")}`);
