/** What callers ask of LLM providers, and what they get: OpenAI's shapes, without what the guard decides. */
import type OpenAI from "openai";
import type { AutoParseableResponseFormat } from "openai/lib/parser";
import type { ParsedChatCompletion } from "openai/resources/chat/completions";
import type { Rescue } from "../../../shared/recovery.js";

export type ChatCompletion = OpenAI.Chat.ChatCompletion;
export type ChatChunk = OpenAI.Chat.ChatCompletionChunk;
export type EmbeddingResponse = OpenAI.CreateEmbeddingResponse;
export type { ParsedChatCompletion };

/** A name for the first provider only, because it means nothing to the others; or one name per provider. */
export type ModelChoice = string | Readonly<Record<string, string>>;

/** A chat request as the `openai` package takes it: messages, tools, response format and the rest. */
export interface ChatRequest extends Omit<OpenAI.Chat.ChatCompletionCreateParamsNonStreaming, "model" | "stream"> {
  /** @default each provider's own model */
  readonly model?: ModelChoice | undefined;
  /** Not offered: `stream()` streams. */
  readonly stream?: false | null | undefined;
}

/** As `ChatRequest`, with a `response_format` that can read its answer: `zodResponseFormat(schema, "name")`. */
export interface ParseRequest<T> extends ChatRequest {
  readonly response_format: AutoParseableResponseFormat<T>;
}

/** Each text's place in a space of meanings. */
export interface EmbedRequest extends Omit<OpenAI.EmbeddingCreateParams, "model" | "encoding_format"> {
  /** @default the `embeddingModel` of the first provider that has one */
  readonly model?: string | undefined;
}

export interface ChatOptions {
  /** The caller's own signal, beside the one of the tRPC call. */
  readonly signal?: AbortSignal | undefined;
  /** Bounds everything, rescues and a whole stream too; 1 to 2^31-1 ms. @default the options' own */
  readonly timeoutMs?: number | undefined;
}

/** Chunks as they come. Leaving the loop ends the request. */
export interface ChatStream extends AsyncIterableIterator<ChatChunk, undefined> {
  /** How it was obtained; undefined until it has ended. */
  readonly rescue: Rescue | undefined;
}
