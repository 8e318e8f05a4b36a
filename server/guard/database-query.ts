/** Names a query without its parameters, for tags and failure contexts: what it does, and a fingerprint of its text. */

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

/** FNV-1a over UTF-16 units: identity for grouping, not cryptography. */
function fnv1a(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}
