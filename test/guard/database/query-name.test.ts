import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nameQuery } from "../../../server/guard/database/query-name.js";
import { createStatementSeries } from "../../../server/guard/database/statement-series.js";
import type { SeriesDescriptor } from "../../../shared/series.js";
import { processorMsOf } from "../../support/processor-time.js";

describe("a query's name", () => {
  it.each([
    ['select "id" from "users" where "users"."name" = $1 limit $2', "SELECT", "SELECT users"],
    ["insert into `users` (`name`) values (default, ?)", "INSERT", "INSERT users"],
    ["UPDATE only app.users SET a = 1", "UPDATE", "UPDATE app.users"],
    ["with gone as (delete from a returning *) select * from gone", "DELETE", "DELETE a"],
    ["with x as (select 1) select * from x", "SELECT", "SELECT x"],
    ["(select 1) union (select 2)", "SELECT", "SELECT"],
    ["begin isolation level serializable", "BEGIN", "BEGIN"],
    ["create table if not exists orders (id int)", "CREATE", "CREATE orders"],
    ["-- a comment\n/* and another */ delete from sessions", "DELETE", "DELETE sessions"],
    ["", "OTHER", "OTHER"],
    ["42", "OTHER", "OTHER"],
  ])("says what it does and to what: %s", (text, operation, summary) => {
    expect(nameQuery(text, "postgresql")).toMatchObject({ operation, summary });
  });

  it.each([
    ["select * from t where id in ($1, $2)", "select * from t where id in ($1, $2, $3)"],
    ["insert into t values ($1, $2), ($3, $4)", "insert into t values ($1, $2)"],
    ["select 'a' from t", "SELECT   'b''c'\nfrom t"],
    ["select 1.5e3, 0xff from t", "select 7, 8 from t"],
    ["select $$a$$ from t", "select $tag$ it's $$ x $tag$ from t"],
    ["select e'a\\'b' from t", "select e'c' from t"],
    ["select 1 /* trace 4711 */ from t", "select 1 from t -- trace 4712"],
  ])("has one fingerprint for one shape: %s", (one, other) => {
    expect(nameQuery(one, "postgresql").fingerprint).toBe(nameQuery(other, "postgresql").fingerprint);
  });

  it("has another one for another shape", () => {
    expect(nameQuery("select * from a").fingerprint).not.toBe(nameQuery("select * from b").fingerprint);
  });

  it("never tells, nor depends on, a value that stands in the text", () => {
    const quoted = {
      postgresql: (value: string) => `'${value.replaceAll("'", "''")}'`,
      sqlite: (value: string) => `'${value.replaceAll("'", "''")}'`,
      mysql: (value: string) => `'${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`,
    } as const;
    fc.assert(
      fc.property(
        fc.string({ unit: "binary", maxLength: 200, size: "max" }),
        fc.constantFrom("postgresql", "sqlite", "mysql"),
        (value, system) => {
          const named = nameQuery(`select * from users where name = ${quoted[system](value)} and id = 1`, system);
          const other = nameQuery("select * from users where name = 'x' and id = 2", system);
          expect({ ...named, hasValues: true }).toEqual({ ...other, hasValues: true });
          expect(named.hasValues).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    [
      "postgresql",
      `select "it's" from users where name = 's3cret from cards'`,
      `select "it's" from users where name = ''`,
    ],
    ["sqlite", "select `it's` from users where name = 's3cret'", "select `it's` from users where name = ''"],
    ["mysql", "select `it's` from users where name = 's3cret'", "select `it's` from users where name = ''"],
    ["postgresql", `select """'" from users where name = 'a'`, `select """'" from users where name = 'b'`],
  ] as const)("takes no quote inside of a name for the begin of a value: %s, %s", (system, one, other) => {
    expect(nameQuery(one, system)).toEqual(nameQuery(other, system));
    expect(nameQuery(one, system).summary).toBe("SELECT users");
  });

  it("tells names apart by the numbers in them", () => {
    const [one, two] = ["2025", "2026"].map((year) => nameQuery(`select * from "sales ${year}"`, "postgresql"));
    expect(one?.fingerprint).not.toBe(two?.fingerprint);
    expect(one?.hasValues).toBe(false);
  });

  it.each([
    ["select 1", true, false],
    ['with x as (select "update", `delete`, x.merge from x) select * from x', true, false],
    ["with x as (select 1) select * from x for no key update", true, false],
    ["select * into copy from t", false, false],
    ["show tables", true, false],
    ["with x as (select 1) select 1", true, false],
    ["insert into t values (1)", false, true],
    ["with x as (select 1) update t set a = 1", false, true],
    ["create table t (a int)", false, true],
    ["create temporary table t (a int)", false, false],
    ["create or replace temp view v as select 1", false, false],
    ["truncate t", false, true],
    ["begin", false, false],
    ["explain analyze delete from t", false, false],
    ["call refresh()", false, false],
  ])("knows what surely reads and what surely writes: %s", (text, reads, writes) => {
    expect(nameQuery(text, "postgresql")).toMatchObject({ reads, writes });
  });

  it.each([
    ["insert into users (name) values ($1)", true],
    ["insert into users (name) values ('a; b') ; -- done; really", true],
    ["with moved as (delete from a returning *) insert into b select * from moved;", true],
    ["", true],
    [`insert into users (name) values ${Array(1_000).fill("($1)").join(", ")}`, true],
    ["insert into a values (1); insert into b values (2)", false],
    [`insert into a values ${Array(1_000).fill("($1)").join(", ")}; insert into b values (2)`, false],
    ["call pay($1)", false],
    ["/* nightly */ CALL pay()", false],
    ["do $$ begin perform 1; end $$", false],
  ])("knows what is undone as a whole when it fails: %s", (text, isAtomic) => {
    expect(nameQuery(text, "postgresql")).toMatchObject({ isAtomic });
  });

  it("is found in a time that grows with the text alone, whatever it is", () => {
    for (const text of ["'", '"', "\\", "/*", "$a$", "(", "from ", "? , ", "e'", "--"]) {
      for (const system of ["postgresql", "mysql"] as const) {
        const long = text.repeat(1_000_000);
        expect(
          processorMsOf(() => nameQuery(long, system)),
          text,
        ).toBeLessThan(500);
      }
    }
  });
});

describe("the series of statements", () => {
  const described: SeriesDescriptor[] = [];
  const sink = {
    record() {},
    series(descriptor: SeriesDescriptor) {
      described.push(descriptor);
      return { record() {} };
    },
  };

  it("are bounded: beyond 200 statements of one database the rest share one for each operation", () => {
    const series = createStatementSeries(sink, "db:main", "postgresql");
    for (let table = 0; table < 1_000; table += 1) {
      series.of(`select * from t${table}`);
      series.of(`delete from t${table}`);
    }
    const distinct = new Set(described.map(({ tags }) => JSON.stringify(tags)));
    expect(distinct.size).toBe(202);
    expect(described.at(-1)?.tags).toEqual({
      "db.system.name": "postgresql",
      "db.operation.name": "DELETE",
      "db.query.summary": "DELETE",
      "db.query.fingerprint": "_OTHER",
    });
  });

  it("keep no text that carries values", () => {
    const series = createStatementSeries(sink, "db:main", "mysql");
    const found = series.of("select * from t where id = ?");
    expect(series.of("select * from t where id = ?")).toBe(found);
    const raw = series.of("select * from t where name = 's3cret'");
    expect(series.of("select * from t where name = 's3cret'")).not.toBe(raw);
  });
});
