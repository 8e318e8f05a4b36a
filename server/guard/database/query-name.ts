/** Names a query without its parameters: what it does and to what, a fingerprint of its shape, and whether it reads or writes. */
import { readProperty } from "../../../shared/error-facts.js";
import { fnv1a } from "../../../shared/fnv1a.js";

/** OpenTelemetry's names for database systems. */
export type DatabaseSystem = "sqlite" | "postgresql" | "mysql";

export interface QueryName {
  /** `SELECT`, `INSERT`, …, for a `WITH` what it leads to; `OTHER` for what does not begin with a word. */
  readonly operation: string;
  /** Operation and first table: `SELECT users`. At most 100 characters. */
  readonly summary: string;
  /** 8 hex digits, the same for queries that differ in literals, in the length of lists, in comments and in space only. */
  readonly fingerprint: string;
  /** Surely changes something, so that a database that takes no writes need not be asked. */
  readonly writes: boolean;
  /** Surely only reads, functions that it calls aside. */
  readonly reads: boolean;
  /** When it fails, nothing of it is kept: it is one statement, and none that may commit within itself. */
  readonly isAtomic: boolean;
  /** The text carries values or comments of its own: it hardly comes again, and must not be kept. */
  readonly hasValues: boolean;
}

/** Longer texts are told apart by their beginning. */
const MAX_SQL = 4_000;
const MAX_SUMMARY = 100;

/**
 * Comments, names in quotes, strings and numbers, in the order in which a parser meets them. In MySQL a backslash escapes and
 * double quotes are strings too; elsewhere double quotes are names, and `$tag$ … $tag$` is a string of PostgreSQL.
 */
const COMMENT = String.raw`\/\*[\s\S]*?(?:\*\/|$)|--[^\n]*`;
const ESCAPED = (quote: string) => String.raw`${quote}(?:[^${quote}\\]|\\[\s\S]|${quote}${quote})*(?:${quote}|\\?$)`;
const PLAIN = `'(?:[^']|'')*(?:'|$)`;
const DOLLAR_QUOTED = String.raw`\$(?<tag>\w*)\$[\s\S]*?(?:\$\k<tag>\$|$)`;
const NUMBER = String.raw`(?<![\w$])\d[\w.]*`;
const DOUBLE_QUOTED = `"(?:[^"]|"")*(?:"|$)`;
const BACKTICKED = "`(?:[^`]|``)*(?:`|$)";
const standard = (names: string) =>
  new RegExp(
    `(?<comment>${COMMENT})|(?<name>${names})|(?<![\\w$])[eE]${ESCAPED("'")}|${PLAIN}|(?<![\\w$])${DOLLAR_QUOTED}|${NUMBER}`,
    "g",
  );
const LITERALS: Readonly<Record<DatabaseSystem, RegExp>> = {
  mysql: new RegExp(
    `(?<comment>${COMMENT}|#[^\\n]*)|(?<name>${BACKTICKED})|${ESCAPED("'")}|${ESCAPED('"')}|${NUMBER}`,
    "g",
  ),
  sqlite: standard(`${DOUBLE_QUOTED}|${BACKTICKED}`),
  postgresql: standard(DOUBLE_QUOTED),
};

const WRITING = /^(?:insert|update|delete|replace|merge|truncate|alter|drop|create(?! (?:or replace )?temp))\b/;
const READING = /^(?:select|show|values|table)\b/;
/** What runs a program of its own. */
const RUNNING = /^(?:call|do|execute|exec|begin|start)\b/;
/** Neither a column of that name nor the lock of a `for update`. */
const WRITE_INSIDE = /(?<![."`\w]|\bfor (?:no key )?)(insert|update|delete|merge)\b/;
const TABLE =
  /\b(?:from|into|update|join|table)\s+(?:only\s+|if\s+(?:not\s+)?exists\s+)?((?:[\w$]+|"[^"]+"|`[^`]+`)(?:\.(?:[\w$]+|"[^"]+"|`[^`]+`))*)/;

/**
 * @example nameQuery("select * from users where id in ($1, $2)", "postgresql").summary // "SELECT users"
 */
export function nameQuery(sql: string, system: DatabaseSystem = "sqlite"): QueryName {
  let hasValues = sql.length > MAX_SQL;
  const bare = sql.slice(0, MAX_SQL).replace(LITERALS[system], (...match) => {
    const groups: unknown = match.at(-1);
    const name = groupOf(groups, "name");
    if (name !== undefined) return name;
    hasValues = true;
    return groupOf(groups, "comment") === undefined ? "?" : " ";
  });
  const shape = bare
    .replace(/\$\d+/g, "?")
    .replace(/\s+/g, " ")
    .replace(/\?(?: ?, ?\?)+/g, "?")
    .replace(/\(\?\)(?: ?, ?\(\?\))+/g, "(?)")
    .trim()
    .toLowerCase();
  const statement = shape.replace(/^[\s(]+/, "");
  const word = /^[a-z]{1,20}\b/.exec(statement)?.[0];
  const verb = word === "with" ? (WRITE_INSIDE.exec(statement)?.[1] ?? "select") : word;
  const operation = verb?.toUpperCase() ?? "OTHER";
  const table = TABLE.exec(statement)?.[1]?.replace(/["`]/g, "");
  return {
    operation,
    summary: (table === undefined ? operation : `${operation} ${table}`).slice(0, MAX_SUMMARY),
    fingerprint: fnv1a(shape),
    writes: word === "with" ? verb !== "select" : WRITING.test(statement),
    reads: word === "with" ? verb === "select" : READING.test(statement) && !/\binto\b/.test(statement),
    isAtomic: !RUNNING.test(statement) && !/;\s*[^\s;]/.test(statement) && !sql.includes(";", MAX_SQL),
    hasValues,
  };
}

function groupOf(groups: unknown, name: string): string | undefined {
  const matched = readProperty(groups, name);
  return typeof matched === "string" ? matched : undefined;
}
