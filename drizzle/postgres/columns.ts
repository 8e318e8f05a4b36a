/** The columns that make a row of PostgreSQL equal to one of SQLite: times and counts as numbers, JSON as text, bytes as a buffer. */
import { customType, bigint as pgBigint } from "drizzle-orm/pg-core";

/** A whole number up to 2^53: UTC milliseconds, counts, versions. */
export const bigint = <Name extends string>(name: Name) => pgBigint(name, { mode: "number" });

/** The store's own ascending number of a row. */
export const identity = <Name extends string>(name: Name) =>
  pgBigint(name, { mode: "number" }).primaryKey().generatedByDefaultAsIdentity();

const withoutNul = customType<{ data: string; driverData: string }>({
  dataType: () => "text",
  toDriver: (value) => value.replaceAll("\0", ""),
});

/** Text of whatever origin. PostgreSQL refuses NUL, so it is left out, in what is written and in what is looked for. */
export const cleanText = <Name extends string>(name: Name) => withoutNul(name);

/** JSON kept as text, so that equal values are equal to an index and both dialects give back the same. */
export const jsonText = <T>(name: string) =>
  customType<{ data: T; driverData: string }>({
    dataType: () => "text",
    toDriver: (value) => JSON.stringify(value),
    fromDriver: (value) => JSON.parse(value),
  })(name);

export const bytea = customType<{ data: Buffer; driverData: Buffer }>({ dataType: () => "bytea" });
