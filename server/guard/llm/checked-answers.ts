/** Whatever the types say, a provider may send anything with status 200: an answer is checked before a caller gets it. */
import { listOf, readProperty } from "../../../shared/error-facts.js";
import type { ChatChunk, ChatCompletion, EmbeddingResponse } from "./llm-requests.js";
import { MalformedResponseError } from "./malformed-response-error.js";

/** How it finished is the caller's to judge. */
export function requireCompletion<T extends ChatCompletion>(service: string, answer: T): T {
  const choices = readProperty(answer, "choices");
  if (!Array.isArray(choices)) throw new MalformedResponseError(service, "it is no chat completion");
  if (choices.length === 0) throw new MalformedResponseError(service, "it holds no choice");
  return answer;
}

export function requireEmbeddings(service: string, answer: EmbeddingResponse, input: unknown): EmbeddingResponse {
  const data = readProperty(answer, "data");
  const wanted = Array.isArray(input) && typeof input[0] !== "number" ? input.length : 1;
  if (!Array.isArray(data) || !Array.isArray(readProperty(listOf(data)[0], "embedding"))) {
    throw new MalformedResponseError(service, "it holds no embedding");
  }
  if (data.length !== wanted) {
    throw new MalformedResponseError(service, `it holds ${data.length} embeddings for ${wanted} texts`);
  }
  return answer;
}

/**
 * The errors of reading an answer quote it. Those of the provider and of the SDK about it stay as they are.
 *
 * @example await client.chat.completions.parse(params).catch(unreadable("llm:openai"))
 */
export function unreadable(service: string): (error: unknown) => never {
  return (error) => {
    const name = readProperty(error, "name");
    if (name !== "SyntaxError" && name !== "ZodError" && name !== "$ZodError") throw error;
    const problem = name === "SyntaxError" ? "it is not the JSON that was asked for" : "it does not fit its schema";
    throw new MalformedResponseError(service, problem, { cause: error });
  };
}

/** The model that a fallback's text is said to come from. */
const FALLBACK_MODEL = "fallback";

/** @param createdAt UTC seconds */
export function completionOf(answer: string | ChatCompletion, createdAt: number): ChatCompletion {
  if (typeof answer !== "string") return answer;
  const message = { role: "assistant", content: answer, refusal: null } as const;
  return {
    id: `${FALLBACK_MODEL}-${createdAt}`,
    object: "chat.completion",
    created: createdAt,
    model: FALLBACK_MODEL,
    choices: [{ index: 0, message, logprobs: null, finish_reason: "stop" }],
  };
}

/** A whole completion as the one chunk of a stream. */
export function chunkOf({ id, created, model, choices, usage }: ChatCompletion): ChatChunk {
  return {
    id,
    object: "chat.completion.chunk",
    created,
    model,
    choices: choices.map(({ index, message, finish_reason }) => ({
      index,
      delta: {
        role: "assistant",
        content: message.content,
        ...(message.refusal !== null && { refusal: message.refusal }),
        ...(message.tool_calls && {
          tool_calls: message.tool_calls.flatMap((call, place) =>
            call.type === "function" ? [{ ...call, index: place }] : [],
          ),
        }),
      },
      finish_reason,
    })),
    ...(usage && { usage }),
  };
}
