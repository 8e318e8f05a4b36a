/**
 * Reads what an unknown thrown value says about itself, link by link along its causes, without ever throwing: users throw
 * strings, proxies, cycles, getters that throw and messages of 10 MB.
 */

/** One link of an error's chain of causes. */
export interface ErrorFacts {
  /** The value's own `name` and the names of its constructors, nearest first. */
  readonly names: readonly string[];
  /** Bounded to 2,000 characters; empty when there is none. */
  readonly message: string;
  /** `code` where it is a string. */
  readonly code: string | undefined;
  /** HTTP status, wherever the client library keeps it. */
  readonly status: number | undefined;
  /** The provider's error object inside the response body, unwrapped from arrays, envelopes and JSON text. */
  readonly body: ProviderError | undefined;
  /** A response header by its lower-case name. */
  header(name: string): string | undefined;
  /** Any other property, defended. */
  read(key: PropertyKey): unknown;
}

/** `{ error: { … } }` as OpenAI, Anthropic, Google, DeepSeek and OpenRouter send it, reduced to what tells errors apart. */
export interface ProviderError {
  /** Lower-cased `type`, `code` and `status` words, most telling first. */
  readonly words: readonly string[];
  /** A numeric `code`, which some providers use in place of the status. */
  readonly status: number | undefined;
  readonly message: string;
  readonly details: readonly unknown[];
  readonly metadata: unknown;
}

/** Deeper or wider than this an error tells nothing new, and a proxy may answer `cause` for ever. */
const MAX_LINKS = 16;
const MAX_MESSAGE = 2_000;
const MAX_JSON = 65_536;
const MAX_CONSTRUCTORS = 6;

/**
 * What the error and its causes say, outermost first.
 *
 * @example factsOf(new Error("query failed", { cause: { code: "SQLITE_BUSY" } }))[1]?.code // "SQLITE_BUSY"
 */
export function factsOf(error: unknown): readonly ErrorFacts[] {
  return linksOf(error).map(linkOf);
}

/** The error and its causes, outermost first: `lastError`, then `cause`, then `errors` from the last to the first. */
export function linksOf(error: unknown): readonly unknown[] {
  const seen = new Set<unknown>();
  const queue: unknown[] = [error];
  while (queue.length > 0 && seen.size < MAX_LINKS) {
    const value = queue.shift();
    if (value === undefined || value === null || seen.has(value)) continue;
    seen.add(value);
    queue.push(readProperty(value, "lastError"), readProperty(value, "cause"), ...innerErrors(value).reverse());
  }
  return [...seen];
}

/** The errors that one error gathers (`AggregateError`, the AI SDK's `RetryError`), at most as many as a chain holds. */
export function innerErrors(error: unknown): unknown[] {
  return listOf(readProperty(error, "errors"));
}

/** A property of anything, or undefined when there is none or reading it throws. */
export function readProperty(value: unknown, key: PropertyKey): unknown {
  if ((typeof value !== "object" || value === null) && typeof value !== "function") return undefined;
  try {
    return Reflect.get(value, key);
  } catch {
    return undefined;
  }
}

function linkOf(value: unknown): ErrorFacts {
  const read = (key: PropertyKey) => readProperty(value, key);
  const response = read("response");
  const code = read("code");
  const body = bodyOf(read, response);
  const messageText = typeof value === "string" ? value : read("message");
  return {
    names: namesOf(value),
    message: typeof messageText === "string" ? messageText.slice(0, MAX_MESSAGE) : "",
    code: typeof code === "string" ? code.slice(0, 100) : undefined,
    status:
      statusOf(read("status")) ??
      statusOf(read("statusCode")) ??
      statusOf(readProperty(response, "status")) ??
      statusOf(readProperty(read("$metadata"), "httpStatusCode")) ??
      statusOf(readProperty(read("data"), "httpStatus")) ??
      body?.status,
    body,
    header: (name) =>
      headerOf(read("headers"), name) ??
      headerOf(readProperty(response, "headers"), name) ??
      headerOf(read("responseHeaders"), name),
    read,
  };
}

function namesOf(value: unknown): string[] {
  const names: string[] = [];
  const own = readProperty(value, "name");
  if (typeof own === "string") names.push(own.slice(0, 100));
  try {
    let prototype: unknown = typeof value === "object" ? Object.getPrototypeOf(value) : undefined;
    for (let depth = 0; prototype && depth < MAX_CONSTRUCTORS; depth += 1) {
      const name = readProperty(readProperty(prototype, "constructor"), "name");
      if (typeof name === "string" && name !== "Object") names.push(name.slice(0, 100));
      prototype = Object.getPrototypeOf(prototype);
    }
  } catch {
    // A proxy may refuse its prototype: what was found until then is what is known.
  }
  return names;
}

function statusOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 100 && value < 600 ? value : undefined;
}

function headerOf(headers: unknown, name: string): string | undefined {
  const get = readProperty(headers, "get");
  if (typeof get === "function") {
    try {
      const value: unknown = Reflect.apply(get, headers, [name]);
      if (typeof value === "string") return value.slice(0, 200);
    } catch {
      return undefined;
    }
  }
  const titled = name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
  const value = readProperty(headers, name) ?? readProperty(headers, titled);
  const first = listOf(value)[0] ?? value;
  if (typeof first === "number") return String(first);
  return typeof first === "string" ? first.slice(0, 200) : undefined;
}

/** The openai SDK keeps the inner object in `error`, Anthropic's the whole body; the AI SDK `data` and the text; axios `response.data`. */
function bodyOf(read: (key: PropertyKey) => unknown, response: unknown): ProviderError | undefined {
  return (
    providerError(read("error")) ??
    providerError(read("data")) ??
    providerError(read("responseBody")) ??
    providerError(readProperty(response, "data")) ??
    providerError(read("body"))
  );
}

/**
 * The provider's error inside a response body given as text, array, envelope or the bare object; undefined when the value
 * has nothing of one.
 *
 * @example providerError([{ error: { code: 429, status: "RESOURCE_EXHAUSTED" } }])?.words // ["resource_exhausted"]
 */
export function providerError(value: unknown, depth = 0): ProviderError | undefined {
  if (depth > 4) return undefined;
  if (typeof value === "string") {
    const parsed = parseJson(value);
    return parsed === undefined ? undefined : providerError(parsed, depth + 1);
  }
  if (typeof value !== "object" || value === null) return undefined;
  const first = listOf(value)[0];
  if (first !== undefined) return providerError(first, depth + 1);
  const inner = readProperty(value, "error");
  if (inner !== undefined && inner !== null) {
    if (typeof inner === "string" && !inner.startsWith("{") && !inner.startsWith("[")) {
      return {
        words: wordsOf([inner]),
        status: undefined,
        message: inner.slice(0, MAX_MESSAGE),
        details: [],
        metadata: undefined,
      };
    }
    return providerError(inner, depth + 1);
  }
  const message = readProperty(value, "message");
  if (typeof message === "string" && (message.startsWith("{") || message.startsWith("["))) {
    const nested = providerError(message, depth + 1);
    if (nested) return nested;
  }
  const type = readProperty(value, "type");
  const code = readProperty(value, "code");
  const status = readProperty(value, "status");
  if (message === undefined && type === undefined && code === undefined && status === undefined) return undefined;
  return {
    words: wordsOf([code, type, status]),
    status: statusOf(code),
    message: typeof message === "string" ? message.slice(0, MAX_MESSAGE) : "",
    details: listOf(readProperty(value, "details")),
    metadata: readProperty(value, "metadata"),
  };
}

function wordsOf(values: readonly unknown[]): string[] {
  return values.flatMap((value) => (typeof value === "string" ? [value.slice(0, 100).toLowerCase()] : []));
}

function parseJson(text: string): unknown {
  if (text.length > MAX_JSON || !/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** At most as many items of an array as a chain has links; anything else is an empty list. */
export function listOf(value: unknown): unknown[] {
  try {
    return Array.isArray(value) ? value.slice(0, MAX_LINKS) : [];
  } catch {
    return [];
  }
}
