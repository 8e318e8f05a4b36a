/** What was measured once and committed, ratio by ratio, so that `--check` can say what became worse. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { ScenarioResult, Spread } from "./harness.js";

/** By scenario, then by what was promised. */
export type BenchRecord = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** One line of a check: what was promised, what the record and this run say of it. */
export interface Compared {
  readonly what: string;
  readonly recorded: number | undefined;
  readonly measured: number | undefined;
  readonly spread: Spread | undefined;
  /** `new` and `gone` ask for a new record; `skipped` has no ratio, and nothing else is comparable between machines. */
  readonly verdict: "held" | "worse" | "new" | "gone" | "skipped";
}

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
    result.budgets.flatMap(({ what, unit, measured }) =>
      unit === "×" ? [[what.trim(), Number(measured.toFixed(4))] as const] : [],
    ),
  );
}

/** Whether a check passes: nothing became worse, and the record says of each ratio what it was. */
export function isPassed(compared: readonly Compared[]): boolean {
  return compared.every(({ verdict }) => verdict === "held" || verdict === "skipped");
}

/** One line for each promise that was measured or is recorded. */
export function compareWith(recorded: Readonly<Record<string, number>>, result: ScenarioResult): readonly Compared[] {
  const lines = result.budgets.map(({ what, unit, measured, spread }): Compared => {
    const known = recorded[what.trim()];
    const line = { what: what.trim(), recorded: known, measured, spread };
    if (unit !== "×") return { ...line, verdict: "skipped" };
    if (known === undefined) return { ...line, verdict: "new" };
    return { ...line, verdict: measured > known * TOLERANCE ? "worse" : "held" };
  });
  const measured = new Set(lines.map(({ what }) => what));
  const gone = Object.keys(recorded).filter((what) => !measured.has(what));
  return [
    ...lines,
    ...gone.map(
      (what): Compared => ({
        what,
        recorded: recorded[what],
        measured: undefined,
        spread: undefined,
        verdict: "gone",
      }),
    ),
  ];
}
