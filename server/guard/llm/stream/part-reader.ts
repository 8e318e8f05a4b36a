/** Reads the parts of the AI SDK's streams. */
import { readProperty } from "../../../../shared/error-facts.js";
import { StreamedError } from "./chat-reader.js";
import { StreamFault } from "./stream-fault.js";
import type { Received, StreamReader } from "./stream-reader.js";

/** Parts without content; whatever else may come is what the caller waits for. */
const EMPTY_PARTS: ReadonlySet<unknown> = new Set([
  "stream-start",
  "response-metadata",
  "raw",
  "ping",
  "text-start",
  "text-end",
  "reasoning-start",
  "reasoning-end",
  "finish",
]);

const TOOL_PARTS: ReadonlySet<unknown> = new Set(["tool-input-start", "tool-input-delta", "tool-call", "tool-result"]);

export class PartReader implements StreamReader<unknown> {
  usage: unknown = undefined;
  finished = false;
  #text = "";
  #toolCalls = false;

  get received(): Received {
    return { text: this.#text, toolCalls: this.#toolCalls };
  }

  read(part: unknown): boolean {
    const type = readProperty(part, "type");
    const delta = readProperty(part, "delta");
    if (type === "error") throw thrown(readProperty(part, "error"));
    if (type === "finish") {
      const reason = readProperty(part, "finishReason");
      const unified = readProperty(reason, "unified") ?? reason;
      if (unified === "error") throw new StreamedError({ type: "server_error" });
      // What models of the SDK begin with, and say at the end where their provider has said nothing.
      if (unified === "other" && readProperty(reason, "raw") === undefined) throw cut();
      this.finished = true;
      this.usage = readProperty(part, "usage");
    }
    if (type === "text-delta" && typeof delta === "string") this.#text += delta;
    if (TOOL_PARTS.has(type)) this.#toolCalls = true;
    return !EMPTY_PARTS.has(type) && delta !== "";
  }
}

function cut(cause?: unknown): StreamFault {
  return new StreamFault("cut", "the model's stream ended and had not said why", { cause });
}

/** Providers put plain objects into error parts; others put their own words for a stream that was cut. */
function thrown(error: unknown): unknown {
  if (/ended without a finish reason/.test(String(readProperty(error, "message")))) return cut(error);
  return error instanceof Error ? error : new StreamedError(error ?? { type: "server_error" });
}
