/** What was measured once and committed, ratio by ratio, so that `--check` can say what became worse. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { ScenarioResult } from "./harness.js";

/** By scenario, then by what was promised. */
export type BenchRecord = Readonly<Record<string, Readonly<Record<string, number>>>>;

const FILE = fileURLToPath(new URL("./record.json", import.meta.url));
const SHAPE = z.record(z.string(), z.record(z.string(), z.number()));

/** A ratio is worse when it is more than this above the record. */
const TOLERANCE = 1.1;

/** @throws when there is none, or it is not one */
export function readRecord(): BenchRecord {
  return SHAPE.parse(JSON.parse(readFileSync(FILE, "utf8")));
}

/** Scenarios that were not measured keep what they had. */
export function writeRecord(measured: BenchRecord, before: BenchRecord): void {
  writeFileSync(FILE, `${JSON.stringify({ ...before, ...measured }, undefined, 2)}\n`);
}

export function ratiosOf(result: ScenarioResult): Readonly<Record<string, number>> {
  return Object.fromEntries(
    result.budgets.flatMap(({ what, ratio }) =>
      ratio === undefined ? [] : [[what.trim(), Number(ratio.toFixed(4))] as const],
    ),
  );
}

/** One line for each ratio that is more than 10 % worse than the record, and for each that the record does not know. */
export function worseThan(
  record: Readonly<Record<string, number>>,
  measured: Readonly<Record<string, number>>,
): readonly string[] {
  return Object.entries(measured).flatMap(([what, ratio]) => {
    const recorded = record[what];
    if (recorded === undefined) return [`${what}: ${ratio}, and no record of it; write one with --record`];
    return ratio > recorded * TOLERANCE ? [`${what}: ${ratio}, recorded ${recorded}`] : [];
  });
}
