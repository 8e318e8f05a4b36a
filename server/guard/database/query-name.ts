/** Names a query without its parameters, for tags and failure contexts: what it does, and a fingerprint of its text. */
import { fnv1a } from "../../../shared/fnv1a.js";

export interface QueryName {
  /** `SELECT`, `INSERT`, …; `OTHER` for what does not begin with a word. */
  readonly operation: string;
  /** 8 hex digits, the same for queries that differ in literals, in the length of lists and in space only. */
  readonly fingerprint: string;
}

/** Longer texts are told apart by their beginning. */
const MAX_SQL = 4_000;

/**
 * @example nameQuery("select * from users where id in (?, ?)").operation // "SELECT"
 */
export function nameQuery(sql: string): QueryName {
  const text = sql.slice(0, MAX_SQL);
  const word = /^\s*([a-z]{1,20})\b/i.exec(text)?.[1];
  const shape = text
    .replace(/'(?:[^']|'')*'/g, "?")
    .replace(/\b\d+(?:\.\d+)?\b/g, "?")
    .replace(/\s+/g, " ")
    .replace(/\?(?:, ?\?)+/g, "?")
    .replace(/\(\?\)(?:, ?\(\?\))+/g, "(?)")
    .trim()
    .toLowerCase();
  return { operation: word?.toUpperCase() ?? "OTHER", fingerprint: fnv1a(shape) };
}
