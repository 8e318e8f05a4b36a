/** Reads OpenAI's chat chunks, in the dialects of those who speak it: DeepSeek, Gemini, OpenRouter. */
import { listOf, readProperty } from "../../../../shared/error-facts.js";
import { RAN_OUT, RAN_OUT_ERROR } from "../reveal-failures.js";
import type { Received, StreamReader } from "./stream-reader.js";

/** The provider said within its stream that it failed; read as an answer's body is. */
export class StreamedError extends Error {
  override readonly name = "APIError";
  readonly error: unknown;

  constructor(error: unknown) {
    super("the provider's stream says that it failed");
    this.error = error;
  }
}

export class ChatReader<T> implements StreamReader<T> {
  usage: unknown = undefined;
  #text = "";
  #toolCalls = false;
  readonly #open = new Set<unknown>();
  #any = false;

  /** Every choice that began has said why it ended. */
  get finished(): boolean {
    return this.#any && this.#open.size === 0;
  }

  get received(): Received {
    return { text: this.#text, toolCalls: this.#toolCalls };
  }

  read(item: T): boolean {
    // Google wraps what went wrong in an array.
    const chunk: unknown = listOf(item)[0] ?? item;
    const error = readProperty(chunk, "error");
    if (error !== undefined && error !== null) throw new StreamedError(error);
    this.usage = readProperty(chunk, "usage") ?? this.usage;
    let hasContent = false;
    for (const choice of listOf(readProperty(chunk, "choices"))) {
      hasContent = this.#readChoice(choice) || hasContent;
    }
    return hasContent;
  }

  #readChoice(choice: unknown): boolean {
    const error = readProperty(choice, "error");
    if (error !== undefined && error !== null) throw new StreamedError(error);
    const index = readProperty(choice, "index") ?? 0;
    const finishReason = readProperty(choice, "finish_reason");
    if (finishReason === RAN_OUT) throw new StreamedError(RAN_OUT_ERROR);
    if (finishReason === "error") throw new StreamedError({ type: "server_error" });
    this.#any = true;
    if (finishReason === undefined || finishReason === null) this.#open.add(index);
    else this.#open.delete(index);

    const delta = readProperty(choice, "delta");
    const content = readProperty(delta, "content");
    if (typeof content === "string" && index === 0) this.#text += content;
    const calls =
      listOf(readProperty(delta, "tool_calls")).length > 0 || isObject(readProperty(delta, "function_call"));
    this.#toolCalls ||= calls;
    return calls || CONTENT.some((key) => hasSubstance(readProperty(delta, key)));
  }
}

/** Where a delta holds what the caller waits for; thoughts count, because they are work that arrives. */
const CONTENT = ["content", "refusal", "reasoning_content", "reasoning", "audio"] as const;

function hasSubstance(value: unknown): boolean {
  return typeof value === "string" ? value !== "" : isObject(value);
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}
