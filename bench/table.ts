/** Prints what the scenarios measured: one table of contenders, one of budgets. */
import { cpus } from "node:os";
import type { Budget, Group, ScenarioResult } from "./harness.js";

export function tableOf(results: readonly ScenarioResult[]): string {
  const groups = results.flatMap((result) => result.groups);
  const budgets = results.flatMap((result) => result.budgets);
  const notes = results.flatMap((result) => result.notes ?? []);
  return [
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown"}. Medians of interleaved batches.`,
    ...groups.map(groupTable),
    budgetTable(budgets),
    ...notes,
    "",
  ].join("\n\n");
}

function groupTable({ title, measurements }: Group): string {
  return grid([
    [title, "ns/op", "to baseline", "added ns"],
    ...measurements.map(({ name, nsPerOp, ratio, addedNs }) => [
      name,
      nsPerOp.toFixed(nsPerOp < 100 ? 1 : 0),
      `${ratio.toFixed(2)} ×`,
      addedNs.toFixed(addedNs < 100 ? 1 : 0),
    ]),
  ]);
}

function budgetTable(budgets: readonly Budget[]): string {
  return grid([
    ["budget", "limit", "measured", ""],
    ...budgets.map(({ what, limit, measured, met }) => [what, limit, measured, met ? "met" : "NOT MET"]),
  ]);
}

/** The first column to the left, the others to the right. */
function grid(rows: readonly (readonly string[])[]): string {
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
