/**
 * Keeps prompts and completions out of what is written down about a failure. The message of an error that an LLM SDK raised
 * is the provider's own text, and providers, gateways and parsers repeat in it what they were given. Kept are the status and
 * the provider's short words for what went wrong.
 */
import { type ErrorFacts, factsOf } from "./error-facts.js";

/** As much of a message as is looked for in other texts: enough to be sure of it. */
const TELLING_LENGTH = 200;
const MAX_WORDS = 3;

/** A word of a vocabulary (`server_is_overloaded`), not somebody's text. */
const WORD = /^[a-z][\w.:-]{0,63}$/;

/**
 * Cuts the text of LLM SDKs' errors out of `text`: the error's own message or stack, or one that quotes it.
 *
 * @example withoutModelWords("500 {prompt…}", error) // "HTTP 500 server_error"
 */
export function withoutModelWords(text: string, error: unknown): string {
  if (text === "") return text;
  let kept = withoutSnippet(text);
  const chain = factsOf(error);
  for (const facts of chain) {
    if (!isModelError(facts)) continue;
    const told = facts.message.slice(0, TELLING_LENGTH);
    const at = told === "" ? -1 : kept.indexOf(told);
    if (at < 0) continue;
    const framesAt = kept.indexOf("\n    at ", at + told.length);
    kept = `${kept.slice(0, at)}${wordsOf(chain)}${framesAt < 0 ? "" : kept.slice(framesAt)}`;
  }
  return kept;
}

/** By the names of the SDKs' own classes. What has neither status nor body is no answer: its message is the SDK's. */
function isModelError({ names, status, body }: ErrorFacts): boolean {
  if (names.some((name) => name.startsWith("AI_"))) return true;
  return names.includes("APIError") && (status !== undefined || body !== undefined);
}

function wordsOf(chain: readonly ErrorFacts[]): string {
  const status = chain.find((facts) => facts.status !== undefined)?.status;
  const words = chain.find((facts) => facts.body !== undefined)?.body?.words.filter((word) => WORD.test(word)) ?? [];
  const said = [...new Set(words)].slice(0, MAX_WORDS).join(" ");
  if (status !== undefined) return said === "" ? `HTTP ${status}` : `HTTP ${status} ${said}`;
  return said === "" ? "the provider's answer is not kept" : said;
}

/** `JSON.parse` quotes what it could not read, which may be what a model wrote or what a user sent. */
function withoutSnippet(text: string): string {
  const end = text.lastIndexOf(NOT_JSON);
  const start = end < 0 ? -1 : text.indexOf("Unexpected ");
  return start < 0 || start > end ? text : `${text.slice(0, start)}the text${text.slice(end)}`;
}

const NOT_JSON = " is not valid JSON";
