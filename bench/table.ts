/** Prints what the scenarios measured: one table of contenders each, one of budgets, and what a check compared. */
import { cpus } from "node:os";
import type { Budget, Group, ScenarioResult, Spread, Unit } from "./harness.js";
import type { Compared } from "./record.js";

export function tableOf(results: readonly ScenarioResult[]): string {
  const groups = results.flatMap((result) => result.groups);
  const budgets = results.flatMap((result) => result.budgets);
  const notes = results.flatMap((result) => result.notes ?? []);
  return [
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown"}. Medians of interleaved batches, and of ` +
      "processes; a spread is the lowest and the highest of them.",
    ...groups.map(groupTable),
    budgetTable(budgets),
    ...notes,
    "",
  ].join("\n\n");
}

export function checkTableOf(compared: readonly Compared[]): string {
  return grid([
    ["ratio", "recorded", "measured", "spread", ""],
    ...compared.map(({ what, recorded, measured, spread, verdict }) => {
      const show = showAs("×", recorded ?? 1);
      return [
        what,
        recorded === undefined ? "" : show(recorded),
        measured === undefined || verdict === "skipped" ? "" : show(measured),
        verdict === "skipped" ? "" : spreadText(spread, show),
        VERDICTS[verdict],
      ];
    }),
  ]);
}

const VERDICTS: Readonly<Record<Compared["verdict"], string>> = {
  held: "held",
  worse: "WORSE",
  new: "NOT RECORDED",
  gone: "NOT MEASURED",
  skipped: "skipped: no ratio",
};

function groupTable({ title, measurements }: Group): string {
  return grid([
    [title, "ns/op", "to baseline", "spread", "added ns"],
    ...measurements.map(({ name, nsPerOp, ratio, addedNs, spread }) => [
      name,
      nsPerOp.toFixed(nsPerOp < 100 ? 1 : 0),
      showAs("×", ratio)(ratio),
      spreadText(spread, showAs("×", ratio)),
      addedNs.toFixed(addedNs < 100 ? 1 : 0),
    ]),
  ]);
}

function budgetTable(budgets: readonly Budget[]): string {
  return grid([
    ["budget", "limit", "measured", "spread", ""],
    ...budgets.map(({ what, limit, measured, unit, spread }) => {
      const show = showAs(unit, limit);
      return [
        what,
        `≤ ${show(limit)}`,
        show(measured),
        spreadText(spread, show),
        measured <= limit ? "met" : "NOT MET",
      ];
    }),
  ]);
}

/** As exactly as the limit makes it worth while. */
function showAs(unit: Unit, limit: number): (value: number) => string {
  const digits = unit === "×" ? (limit < 0.1 ? 4 : limit < 0.5 ? 3 : 2) : limit < 10 ? 2 : 0;
  return (value) => `${value.toFixed(digits)} ${unit}`;
}

function spreadText(spread: Spread | undefined, show: (value: number) => string): string {
  return spread === undefined ? "" : `${show(spread.lowest)} to ${show(spread.highest)}`;
}

/** The first column to the left, the others to the right. */
export function grid(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
  const rule = "─".repeat(widths.reduce((sum, width) => sum + width + 2, -2));
  return [lines[0], rule, ...lines.slice(1)].join("\n");
}
