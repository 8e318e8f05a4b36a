/** Writes whole rows through statements that are prepared once: the cost of building SQL is not paid for each row. */
import { getTableColumns, type SQL, sql } from "drizzle-orm";
import type { SQLiteColumn, SQLiteTable } from "drizzle-orm/sqlite-core";
import type { NewRow } from "../new-row.js";
import type { Db } from "./sqlite-connection.js";

/**
 * @param upsert the columns that identify a row, and the fields that are written anew when it is there already; without it a
 *   second row of the same identity is an error
 */
export function prepareInsert<T extends SQLiteTable>(
  db: Db,
  table: T,
  upsert?: { readonly target: SQLiteColumn[]; readonly set: readonly (keyof T["$inferInsert"] & string)[] },
): (row: NewRow<T["$inferInsert"]>) => void {
  const columns = new Map<string, SQLiteColumn>(Object.entries(getTableColumns(table)));
  const fields = [...columns].filter(([, column]) => !isRowid(column)).map(([field]) => field);
  const plain: SQLiteTable = table;
  const insert = db.insert(plain).values(Object.fromEntries(fields.map((field) => [field, sql.placeholder(field)])));
  const set = Object.fromEntries((upsert?.set ?? []).map((field) => [field, excluded(columns.get(field))]));
  const statement = upsert ? insert.onConflictDoUpdate({ target: upsert.target, set }).prepare() : insert.prepare();
  const absent = Object.fromEntries(fields.map((field) => [field, undefined]));
  return (row) => {
    statement.run({ ...absent, ...row });
  };
}

/** SQLite numbers these itself. */
function isRowid(column: SQLiteColumn): boolean {
  return column.primary && column.getSQLType() === "integer";
}

function excluded(column: SQLiteColumn | undefined): SQL {
  return sql`excluded.${sql.identifier(column?.name ?? "")}`;
}
