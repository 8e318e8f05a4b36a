/**
 * After a mutation run: fails when a break that no test noticed is not explained in `accepted-survivors.ts`, and when what is
 * explained there is not in the code any more. What is explained may be noticed: a busy machine stops some by their time.
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { z } from "zod";
import { ACCEPTED } from "./accepted-survivors.js";

const place = z.object({ line: z.number(), column: z.number() });
const mutant = z.object({
  status: z.string(),
  replacement: z.string(),
  location: z.object({ start: place, end: place }),
});
const report = z.object({
  files: z.record(z.string(), z.object({ source: z.string(), mutants: z.array(mutant) })),
});

const { files } = report.parse(JSON.parse(readFileSync("reports/mutation.json", "utf8")));

const survivors = keysOf((status) => status === "Survived" || status === "NoCoverage");
const all = keysOf(() => true);
const names = new Set(Object.keys(files).map((path) => basename(path)));
const explained = ACCEPTED.flatMap(({ file, breaks }) =>
  names.has(file) ? breaks.map(([line, from, to]) => `${file}: ${line}: ${from} → ${to}`) : [],
);
const unexplained = survivors.filter((key) => !explained.includes(key));
const stale = explained.filter((key) => !all.includes(key));

for (const key of unexplained) console.error(`survives, and nobody says why: ${key}`);
for (const key of stale) console.error(`is explained, and is not there: ${key}`);
console.log(`${survivors.length} survive, ${unexplained.length} unexplained; ${stale.length} explained for nothing`);
if (unexplained.length + stale.length > 0) process.exitCode = 1;

function keysOf(isMeant: (status: string) => boolean): readonly string[] {
  return Object.entries(files).flatMap(([path, { source, mutants }]) =>
    mutants.flatMap((one) => (isMeant(one.status) ? [keyOf(basename(path), source, one)] : [])),
  );
}

/** Found again by its text, whatever line it is on. */
function keyOf(
  name: string,
  source: string,
  { location: { start, end }, replacement }: z.infer<typeof mutant>,
): string {
  const lines = source.split("\n").slice(start.line - 1, end.line);
  const [first = ""] = lines;
  const from = lines.length === 1 ? first.slice(start.column - 1, end.column - 1) : `${first.slice(start.column - 1)}…`;
  return `${name}: ${first.trim()}: ${from} → ${replacement.split("\n")[0]}`;
}
