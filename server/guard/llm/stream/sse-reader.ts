/** Reads server-sent events of whichever LLM API they are of: OpenAI's chat and responses, Anthropic's messages, Google's own. */
import { listOf, readProperty } from "../../../../shared/error-facts.js";
import { ChatReader, StreamedError } from "./chat-reader.js";
import type { SseEvent } from "./sse.js";
import { StreamFault } from "./stream-fault.js";
import type { Received, StreamReader } from "./stream-reader.js";

export class SseReader implements StreamReader<SseEvent> {
  usage: unknown = undefined;
  readonly #service: string;
  readonly #chat = new ChatReader<unknown>();
  #finished = false;
  #toolCalls = false;
  /** Some event belonged to an API whose grammar is known here. */
  #isKnown = false;
  /** No LLM answers with nothing at all. */
  #mayEnd: boolean;

  constructor(service: string) {
    this.#service = service;
    this.#mayEnd = !service.startsWith("llm:");
  }

  get finished(): boolean {
    return this.#finished || this.#chat.finished;
  }

  get endsWithConnection(): boolean {
    return this.#mayEnd && !this.#isKnown;
  }

  /** No text is kept: the client that reads the bytes has it. */
  get received(): Received {
    return { text: "", toolCalls: this.#toolCalls || this.#chat.received.toolCalls };
  }

  read({ data, name, isTorn }: SseEvent): boolean {
    if (data.startsWith("[DONE]")) {
      this.#finished = true;
      this.#isKnown = true;
      return false;
    }
    const parsed = this.#parse(data, isTorn);
    // Google wraps what went wrong in an array.
    const message = listOf(parsed)[0] ?? parsed;
    if (name === "error" || readProperty(message, "type") === "error") throw streamedError(message);
    if (readProperty(message, "error")) throw streamedError(message);
    if (message === undefined) return false;
    this.#mayEnd = true;
    return this.#readChat(message) ?? this.#readTyped(message) ?? this.#readGoogle(message) ?? data !== "";
  }

  #parse(data: string, isTorn: boolean): unknown {
    if (data === "") return undefined;
    try {
      return JSON.parse(data);
    } catch {
      // What the connection's end tore apart is a cut, which shows at the end.
      if (isTorn) return undefined;
      throw new StreamFault("malformed", `${this.#service} sent an event that is not JSON`);
    }
  }

  #readChat(message: unknown): boolean | undefined {
    if (!Array.isArray(readProperty(message, "choices"))) return undefined;
    this.#isKnown = true;
    const hasContent = this.#chat.read(message);
    this.usage = this.#chat.usage;
    return hasContent;
  }

  /** OpenAI's responses and Anthropic's messages name their events. */
  #readTyped(message: unknown): boolean | undefined {
    const type = readProperty(message, "type");
    if (typeof type !== "string") return undefined;
    if (type.startsWith("response.")) return this.#readResponses(type, message);
    switch (type) {
      case "message_start":
        this.#isKnown = true;
        this.#addUsage(readProperty(readProperty(message, "message"), "usage"));
        return false;
      case "content_block_start": {
        const block = readProperty(readProperty(message, "content_block"), "type");
        this.#toolCalls ||= block === "tool_use" || block === "server_tool_use";
        return false;
      }
      case "content_block_delta":
        return Object.entries(readProperty(message, "delta") ?? {}).some(
          ([key, value]) => key !== "type" && value !== "",
        );
      case "content_block_stop":
      case "ping":
        return false;
      case "message_delta":
        this.#addUsage(readProperty(message, "usage"));
        this.#finished ||= typeof readProperty(readProperty(message, "delta"), "stop_reason") === "string";
        return false;
      case "message_stop":
        this.#finished = true;
        return false;
      default:
        return undefined;
    }
  }

  #readResponses(type: string, message: unknown): boolean {
    this.#isKnown = true;
    const response = readProperty(message, "response");
    switch (type) {
      case "response.completed":
      case "response.incomplete":
        this.#finished = true;
        this.usage = readProperty(response, "usage");
        return false;
      case "response.failed":
        throw streamedError(response);
      default: {
        this.#toolCalls ||= type.includes("_call");
        const delta = readProperty(message, "delta");
        return type.endsWith(".delta") && delta !== "" && delta !== undefined;
      }
    }
  }

  #readGoogle(message: unknown): boolean | undefined {
    const candidates = readProperty(message, "candidates");
    const blocked = readProperty(readProperty(message, "promptFeedback"), "blockReason");
    if (!Array.isArray(candidates) && blocked === undefined) return undefined;
    this.#isKnown = true;
    this.usage = readProperty(message, "usageMetadata") ?? this.usage;
    const [candidate] = listOf(candidates);
    this.#finished ||= typeof (readProperty(candidate, "finishReason") ?? blocked) === "string";
    const parts = listOf(readProperty(readProperty(candidate, "content"), "parts"));
    this.#toolCalls ||= parts.some((part) => readProperty(part, "functionCall") !== undefined);
    return parts.some((part) => readProperty(part, "text") !== "");
  }

  /** Anthropic counts the request at the beginning and the answer at the end. */
  #addUsage(usage: unknown): void {
    if (typeof usage === "object" && usage !== null) this.usage = { ...Object(this.usage), ...usage };
  }
}

function streamedError(message: unknown): StreamedError {
  return new StreamedError(readProperty(message, "error") ?? message ?? { type: "server_error" });
}
