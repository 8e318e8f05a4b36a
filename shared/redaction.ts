/** Takes secrets and personal data out of text and of JSON before either leaves the process. Pure; linear in what it reads. */
import type { Json } from "./failure.js";
import { isPlainObject } from "./plain-object.js";

const REDACTED = "[redacted]";

/**
 * Each rule starts at most once per run of the characters that it repeats (a lookbehind, or a literal that the run cannot
 * contain), so that hostile text costs no more than its length.
 */
const RULES: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  // Drizzle puts the bound values of a query, which are the call's input, at the end of its message.
  [/\nparams: [\s\S]*?(?=\n {4}at |$)/g, `\nparams: ${REDACTED}`],
  [/-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g, REDACTED],
  // A password may hold unescaped `/`, `?` or `@`: for databases and brokers everything up to the last `@` goes.
  [
    /\b((?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|sqlserver|nats|cockroachdb):\/\/)[^\s"'<>]{1,512}@/gi,
    `$1${REDACTED}@`,
  ],
  [/(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/?#"'<>@]{1,512}@/gi, `$1${REDACTED}@`],
  [
    /(?<![\w-])((?:set-)?cookie|(?:proxy-)?authorization)(["']?[ \t]{0,5}[:=](?![ \t]{0,5}\[redacted\])[ \t]{0,5})(?:"[^"\n]*"|'[^'\n]*'|[^\n]+)/gi,
    `$1$2${REDACTED}`,
  ],
  [
    /((?:passw(?:or)?d|passphrase|pwd|secret|token(?!s)|api[-_ ]?key|credential|session)[\w.-]{0,40}["']?[ \t]{0,5}[:=](?![ \t]{0,5}\[redacted\])[ \t]{0,5})(?:"[^"\n]*"|'[^'\n]*'|[^\s,;&"'}\])]+)/gi,
    `$1${REDACTED}`,
  ],
  [/\b(Bearer\s{1,5})[\w.~+/=*-]{6,}/gi, `$1${REDACTED}`],
  [/\b(Basic\s{1,5})[\w+/=]{16,}/g, `$1${REDACTED}`],
  [/(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?/g, REDACTED],
  [
    /(?<![\w-])(?:(?:sk|pk|rk)[-_][\w*-]{8,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{30,}|(?:hf|gsk|npm|whsec)_[\w+/=-]{16,}|SG\.[\w-]{16,}\.[\w-]{16,})/g,
    REDACTED,
  ],
  [/(?<![\w.+-])[\w.+-]+@(?:[\w-]+\.)+[A-Za-z]{2,}/g, REDACTED],
  [/(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])/g, REDACTED],
  [/(?<!\d)\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}(?!\d)/g, REDACTED],
  [/\+\d[\d ()-]{7,20}\d/g, REDACTED],
  [/\d{9,}/g, REDACTED],
];

/**
 * The text without credentials (URL userinfo, connection strings, cookies, Bearer, JWT, well-known key prefixes, private
 * keys, `password=…` and its kin), e-mail addresses, card, phone and other long numbers, and bound query values. Bound
 * the text first: it reads all of it.
 *
 * @example redactText("connect postgres://app:hunter2@db/main failed") // "connect postgres://[redacted]@db/main failed"
 */
export function redactText(text: string): string {
  let result = text;
  for (const [pattern, replacement] of RULES) result = result.replace(pattern, replacement);
  return result;
}

const SECRET_KEY =
  /passw(?:or)?d|passphrase|pwd|secret|token(?!s)|authorization|cookie|api[-_ ]?key|credential|session/i;

const LIMITS = { depth: 6, entries: 50, nodes: 1_000, textLength: 1_000, keyLength: 100 } as const;

/**
 * Any value as JSON that a row may hold: values under telling keys (password, secret, token, authorization, cookie, API key,
 * credential, session) gone, every text redacted, cycles and what JSON cannot say named in brackets. At most 6 levels, 50
 * entries in each, 1,000 values and 1,000 characters a text. Never throws and calls no `toJSON`.
 *
 * @example redactJson({ model: "m", apiKey: "k", at: 12n }) // { model: "m", apiKey: "[redacted]", at: "12" }
 */
export function redactJson(value: unknown): Json {
  return redactNode(value, { nodes: LIMITS.nodes, path: [] });
}

interface Walk {
  nodes: number;
  readonly path: object[];
}

function redactNode(value: unknown, walk: Walk): Json {
  walk.nodes -= 1;
  if (walk.nodes < 0) return "[more]";
  switch (typeof value) {
    case "string":
      return safeText(value, LIMITS.textLength);
    case "number":
      // JSON knows no negative zero.
      return Number.isFinite(value) ? value + 0 : String(value);
    case "boolean":
      return value;
    case "bigint":
      return safeText(value.toString(), LIMITS.textLength);
    case "undefined":
      return null;
    case "symbol":
    case "function":
      return `[${typeof value}]`;
    case "object":
      if (value === null) return null;
      try {
        return redactObject(value, walk);
      } catch {
        return "[unreadable]";
      }
  }
}

function redactObject(value: object, walk: Walk): Json {
  if (walk.path.includes(value)) return "[cycle]";
  if (walk.path.length >= LIMITS.depth) return "[deeper]";
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "[invalid date]" : value.toISOString();
  walk.path.push(value);
  try {
    if (Array.isArray(value)) {
      const items: Json[] = [];
      const length = Math.min(value.length, LIMITS.entries);
      for (let index = 0; index < length; index += 1) items.push(redactNode(value[index], walk));
      if (value.length > length) items.push(`[${value.length - length} more]`);
      return items;
    }
    // Class instances may hold whole connections and requests.
    if (!isPlainObject(value)) return `[${tagOf(value)}]`;
    const entries: [string, Json][] = [];
    let left: number = LIMITS.entries;
    for (const key in value) {
      if (!Object.hasOwn(value, key)) continue;
      left -= 1;
      if (left < 0) {
        entries.push(["…", "[more]"]);
        break;
      }
      // A key may hold data too: `{ "jane@example.org": 3 }`.
      const safeKey = safeText(key, LIMITS.keyLength);
      entries.push([safeKey, SECRET_KEY.test(safeKey) ? REDACTED : readNode(value, key, walk)]);
    }
    return Object.fromEntries(entries);
  } finally {
    walk.path.pop();
  }
}

function readNode(owner: object, key: string, walk: Walk): Json {
  let value: unknown;
  try {
    value = Reflect.get(owner, key);
  } catch {
    return "[unreadable]";
  }
  return redactNode(value, walk);
}

function tagOf(value: object): string {
  return Object.prototype.toString.call(value).slice(8, -1).slice(0, 40);
}

/** More of a text than is kept is read, so that a secret across the cut is still seen as one. */
const MARGIN = 256;

/**
 * A text of any length as it may leave the process: redacted, at most `limit` characters. Cut before it is read, because a
 * pattern over 10 MB would hold the event loop.
 *
 * @example safeText("connect postgres://app:hunter2@db/main failed", 20) // "connect postgres://…"
 */
export function safeText(text: string, limit: number): string {
  return boundText(redactText(boundText(text, limit + MARGIN)), limit);
}

/**
 * At most `limit` characters, the last one an ellipsis where something is missing; without NUL and lone surrogates, which
 * databases refuse, and with other control and bidirectional characters written out, which would deceive a reader.
 */
export function boundText(text: string, limit: number): string {
  const kept = text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
  return UNSAFE_CHARACTER.test(kept) ? escapeUnsafe(kept, limit) : kept;
}

const UNSAFE_CHARACTER = /(?![\n\t])[\p{Cc}\p{Cs}\u202A-\u202E\u2066-\u2069]/u;
const UNSAFE_CHARACTERS = new RegExp(`\\r\\n|${UNSAFE_CHARACTER.source}`, "gu");

function escapeUnsafe(text: string, limit: number): string {
  const escaped = text.replace(UNSAFE_CHARACTERS, (character) => {
    if (character === "\r\n") return "\n";
    const code = character.charCodeAt(0);
    if (code === 0 || (code >= 0xd800 && code <= 0xdfff)) return "";
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
  return escaped.length > limit ? boundText(escaped, limit) : escaped;
}
