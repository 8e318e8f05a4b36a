/** Runs a query without what Drizzle adds to each run: for a statement that one read runs a hundred times. */
import { is, Placeholder, type Query } from "drizzle-orm";
import type { ConnectedDb } from "./sqlite-connection.js";

/**
 * @param query built once; what differs from run to run is a placeholder
 * @returns the rows as arrays, in the order in which the query selects
 */
export function prepareValues(
  { $client }: ConnectedDb,
  query: { toSQL(): Query },
): (values: Readonly<Record<string, number>>) => readonly unknown[] {
  const { sql, params } = query.toSQL();
  const statement = $client.prepare(sql).raw();
  const names = params.map((param) => (is(param, Placeholder) ? param.name : undefined));
  return (values) => statement.all(names.map((name, at) => (name === undefined ? params[at] : values[name])));
}
