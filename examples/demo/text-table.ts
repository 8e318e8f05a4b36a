/** Columns of plain text: words to the left, numbers to the right. */

export type Cell = string | number | undefined;

/** @param rows each as long as `heads`; an undefined cell shows as `-` */
export function textTable(heads: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cells = rows.map((row) => row.map(shown));
  const widths = heads.map((head, column) => Math.max(head.length, ...cells.map((row) => row[column]?.length ?? 0)));
  const numeric = heads.map((_, column) => rows.some((row) => typeof row[column] === "number"));
  const line = (row: readonly string[]) =>
    `  ${row
      .map((cell, column) => (numeric[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join("  ")}`.trimEnd();
  return [heads, ...cells].map(line).join("\n");
}

function shown(cell: Cell): string {
  if (cell === undefined) return "-";
  return typeof cell === "number" ? String(Math.round(cell)) : cell;
}
