import { getTableColumns, getTableName, getViewName, getViewSelectedFields, is, View } from "drizzle-orm";
import { PgTable, getTableConfig as pgConfigOf } from "drizzle-orm/pg-core";
import { SQLiteTable, getTableConfig as sqliteConfigOf } from "drizzle-orm/sqlite-core";
import { expect, it } from "vitest";
import * as postgres from "../../drizzle/postgres/self-healing-schema.js";
import * as sqlite from "../../drizzle/self-healing-schema.js";

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
type Rows<Schema, Kind extends "$inferSelect" | "$inferInsert"> = {
  [Name in keyof Schema as Schema[Name] extends Record<Kind, unknown> ? Name : never]: Schema[Name] extends Record<
    Kind,
    infer Row
  >
    ? Required<{ [Field in keyof Row]: [Row[Field]] }>
    : never;
};

/** These compile only while each row of one dialect is a row of the other. */
const rowsAgree: Same<Rows<typeof sqlite, "$inferSelect">, Rows<typeof postgres, "$inferSelect">> = true;
/** SQLite would number a row without its integer key by itself, so the key of this one may be left out there. */
type SelfNumbered = "rollupMarks";
const insertsAgree: Same<
  Rows<Omit<typeof sqlite, SelfNumbered>, "$inferInsert">,
  Rows<Omit<typeof postgres, SelfNumbered>, "$inferInsert">
> = true;

it("rows are the same in both dialects, to read and to write", () => {
  expect([rowsAgree, insertsAgree]).toEqual([true, true]);
});

it("tables, views, columns and indexes have the same names in both dialects", () => {
  const named = (schema: object) =>
    Object.entries(schema)
      .map(([name, value]) => {
        if (is(value, View)) return [name, getViewName(value), Object.keys(getViewSelectedFields(value)), []];
        const config = is(value, PgTable)
          ? pgConfigOf(value)
          : is(value, SQLiteTable)
            ? sqliteConfigOf(value)
            : undefined;
        if (!config || !(is(value, PgTable) || is(value, SQLiteTable))) return [name];
        const columns = Object.entries(getTableColumns(value)).map(([field, column]) => [
          field,
          column.name,
          column.notNull,
          column.isUnique,
        ]);
        return [
          name,
          getTableName(value),
          columns,
          config.indexes.map((index) => [index.config.name, index.config.unique]),
        ];
      })
      .toSorted(([a], [b]) => String(a).localeCompare(String(b)));
  expect(named(postgres)).toEqual(named(sqlite));
  expect(named(postgres).length).toBeGreaterThan(20);
});
