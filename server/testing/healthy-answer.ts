/** What a provider in good health answers, in the words of whichever API was asked: OpenAI's, Anthropic's or Gemini's. */
import { readProperty } from "../../shared/error-facts.js";

export interface HealthyAnswer {
  /** In the pieces that a stream sends; joined where the answer is sent whole. @default ["hel", "lo"] */
  readonly text?: readonly string[] | undefined;
  /** As OpenAI names it; Anthropic's own word is derived. @default "stop", "tool_calls" with a tool call */
  readonly finishReason?: string | undefined;
  readonly toolCall?: { readonly name: string; readonly arguments: string } | undefined;
  /** @default 11 and 7 */
  readonly tokens?: { readonly input: number; readonly output: number } | undefined;
}

/** Both forms of one answer. */
export interface AnswerForms {
  readonly json: unknown;
  /** Each a whole server-sent event with its blank line. */
  readonly events: readonly string[];
}

interface Settled {
  readonly id: string;
  readonly model: string;
  readonly text: readonly string[];
  readonly finishReason: string;
  readonly toolCall: HealthyAnswer["toolCall"];
  readonly tokens: { readonly input: number; readonly output: number };
  readonly wantsUsage: boolean;
}

/** When the fixture's answers were made; a fixed time, because nothing in a test should depend on it. */
const CREATED_S = 1_767_225_600;

/**
 * @param path of the request's URL
 * @param body of the request, parsed
 * @returns undefined where no API answers under that path
 * @example answerTo("/v1/chat/completions", { model: "m" }, { id: "1" })?.json
 */
export function answerTo(
  path: string,
  body: unknown,
  { id, ...answer }: HealthyAnswer & { readonly id: string },
): AnswerForms | undefined {
  const model = readProperty(body, "model");
  const settled: Settled = {
    id,
    model: typeof model === "string" ? model : "fixture-model",
    text: answer.text ?? ["hel", "lo"],
    finishReason: answer.finishReason ?? (answer.toolCall === undefined ? "stop" : "tool_calls"),
    toolCall: answer.toolCall,
    tokens: answer.tokens ?? { input: 11, output: 7 },
    wantsUsage: readProperty(readProperty(body, "stream_options"), "include_usage") === true,
  };
  if (path.endsWith("/chat/completions")) return { json: chatCompletion(settled), events: chatEvents(settled) };
  if (path.endsWith("/messages")) return { json: message(settled), events: messageEvents(settled) };
  if (path.endsWith("/responses")) return { json: modelResponse(settled), events: responseEvents(settled) };
  if (/:(stream)?generateContent$/i.test(path)) return { json: content(settled), events: contentEvents(settled) };
  if (path.endsWith("/embeddings")) return { json: embeddings(settled, readProperty(body, "input")), events: [] };
  return undefined;
}

function usageOf({ tokens: { input, output } }: Settled) {
  return { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
}

function chatCompletion(answer: Settled) {
  const { id, model, text, finishReason, toolCall } = answer;
  return {
    id: `chatcmpl-${id}`,
    object: "chat.completion",
    created: CREATED_S,
    model,
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: toolCall === undefined ? text.join("") : null,
          refusal: null,
          ...(toolCall && { tool_calls: [{ id: "call_1", type: "function", function: toolCall }] }),
        },
        logprobs: null,
        finish_reason: finishReason,
      },
    ],
    usage: usageOf(answer),
  };
}

function chatEvents(answer: Settled): string[] {
  const { id, model, text, finishReason, toolCall, wantsUsage } = answer;
  const chunk = (choices: readonly unknown[], usage: unknown = null) =>
    event({
      id: `chatcmpl-${id}`,
      object: "chat.completion.chunk",
      created: CREATED_S,
      model,
      choices,
      ...(wantsUsage && { usage }),
    });
  const delta = (part: unknown, finish: string | null = null) =>
    chunk([{ index: 0, delta: part, logprobs: null, finish_reason: finish }]);
  const [first = "", ...rest] = toolCall === undefined ? [] : halves(toolCall.arguments);
  const pieces =
    toolCall === undefined
      ? text.map((content) => delta({ content }))
      : [
          delta({
            tool_calls: [
              { index: 0, id: "call_1", type: "function", function: { name: toolCall.name, arguments: first } },
            ],
          }),
          ...rest.map((part) => delta({ tool_calls: [{ index: 0, function: { arguments: part } }] })),
        ];
  return [
    delta({ role: "assistant", content: "", refusal: null }),
    ...pieces,
    delta({}, finishReason),
    ...(wantsUsage ? [chunk([], usageOf(answer))] : []),
    "data: [DONE]\n\n",
  ];
}

function message({ id, model, text, finishReason, toolCall, tokens }: Settled) {
  return {
    id: `msg_${id}`,
    type: "message",
    role: "assistant",
    model,
    content: [
      toolCall === undefined
        ? { type: "text", text: text.join(""), citations: null }
        : { type: "tool_use", id: "toolu_1", name: toolCall.name, input: JSON.parse(toolCall.arguments) },
    ],
    stop_reason: stopReason(finishReason),
    stop_sequence: null,
    usage: { input_tokens: tokens.input, output_tokens: tokens.output },
  };
}

function messageEvents(answer: Settled): string[] {
  const { text, toolCall, tokens } = answer;
  const { content: _content, stop_reason, usage, ...opening } = message(answer);
  const block =
    toolCall === undefined
      ? { type: "text", text: "" }
      : { type: "tool_use", id: "toolu_1", name: toolCall.name, input: {} };
  const deltas =
    toolCall === undefined
      ? text.map((part) => ({ type: "text_delta", text: part }))
      : halves(toolCall.arguments).map((part) => ({ type: "input_json_delta", partial_json: part }));
  return [
    {
      type: "message_start",
      message: { ...opening, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } },
    },
    { type: "content_block_start", index: 0, content_block: block },
    { type: "ping" },
    ...deltas.map((delta) => ({ type: "content_block_delta", index: 0, delta })),
    { type: "content_block_stop", index: 0 },
    { type: "message_delta", delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: tokens.output } },
    { type: "message_stop" },
  ].map((data) => event(data, data.type));
}

function modelResponse(answer: Settled) {
  const { id, model, tokens } = answer;
  return {
    id: `resp_${id}`,
    object: "response",
    created_at: CREATED_S,
    model,
    status: "completed",
    error: null,
    output: [outputItem(answer)],
    usage: {
      input_tokens: tokens.input,
      output_tokens: tokens.output,
      total_tokens: tokens.input + tokens.output,
    },
  };
}

function outputItem({ text, toolCall }: Settled) {
  return toolCall === undefined
    ? { id: "msg_1", type: "message", role: "assistant", status: "completed", content: [outputText(text.join(""))] }
    : { id: "fc_1", type: "function_call", call_id: "call_1", status: "completed", ...toolCall };
}

function outputText(text: string) {
  return { type: "output_text", text, annotations: [] };
}

function responseEvents(answer: Settled): string[] {
  const { text, toolCall } = answer;
  const whole = modelResponse(answer);
  const item = outputItem(answer);
  const begun = { ...whole, status: "in_progress", output: [], usage: null };
  const at = { item_id: item.id, output_index: 0 };
  const inPart = { ...at, content_index: 0 };
  const pieces =
    toolCall === undefined
      ? [
          { type: "response.content_part.added", ...inPart, part: outputText("") },
          ...text.map((delta) => ({ type: "response.output_text.delta", ...inPart, delta })),
          { type: "response.output_text.done", ...inPart, text: text.join("") },
          { type: "response.content_part.done", ...inPart, part: outputText(text.join("")) },
        ]
      : [
          ...halves(toolCall.arguments).map((delta) => ({
            type: "response.function_call_arguments.delta",
            ...at,
            delta,
          })),
          { type: "response.function_call_arguments.done", ...at, arguments: toolCall.arguments },
        ];
  return [
    { type: "response.created", response: begun },
    { type: "response.in_progress", response: begun },
    { type: "response.output_item.added", output_index: 0, item: { ...item, status: "in_progress" } },
    ...pieces,
    { type: "response.output_item.done", output_index: 0, item },
    { type: "response.completed", response: whole },
  ].map((data, index) => event({ ...data, sequence_number: index }, data.type));
}

/** Gemini's own. */
function content(answer: Settled) {
  const { text, toolCall } = answer;
  return contentOf(answer, toolCall === undefined ? { text: text.join("") } : functionCall(toolCall), true);
}

/** As with `alt=sse`: the last piece says why it ended. */
function contentEvents(answer: Settled): string[] {
  const { text, toolCall } = answer;
  const parts = toolCall === undefined ? text.map((piece) => ({ text: piece })) : [functionCall(toolCall)];
  return parts.map((part, index) => event(contentOf(answer, part, index === parts.length - 1)));
}

function functionCall({ name, arguments: args }: { readonly name: string; readonly arguments: string }) {
  return { functionCall: { name, args: JSON.parse(args) } };
}

function contentOf({ id, model, finishReason, tokens }: Settled, part: object, isLast: boolean) {
  const ended = finishReason === "length" ? "MAX_TOKENS" : finishReason === "content_filter" ? "SAFETY" : "STOP";
  return {
    candidates: [{ content: { role: "model", parts: [part] }, index: 0, ...(isLast && { finishReason: ended }) }],
    usageMetadata: {
      promptTokenCount: tokens.input,
      candidatesTokenCount: tokens.output,
      totalTokenCount: tokens.input + tokens.output,
    },
    modelVersion: model,
    responseId: id,
  };
}

function embeddings(answer: Settled, input: unknown) {
  const count = Array.isArray(input) && typeof input[0] !== "number" ? input.length : 1;
  return {
    object: "list",
    model: answer.model,
    data: Array.from({ length: count }, (_, index) => ({ object: "embedding", index, embedding: [0.25, -0.5, index] })),
    usage: { prompt_tokens: answer.tokens.input, total_tokens: answer.tokens.input },
  };
}

/**
 * One server-sent event with its blank line.
 *
 * @example event({ type: "ping" }, "ping") // 'event: ping\ndata: {"type":"ping"}\n\n'
 */
export function event(data: unknown, name?: string): string {
  const line = `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
  return name === undefined ? line : `event: ${name}\n${line}`;
}

function stopReason(finishReason: string): string {
  switch (finishReason) {
    case "stop":
      return "end_turn";
    case "length":
      return "max_tokens";
    case "tool_calls":
      return "tool_use";
    case "content_filter":
      return "refusal";
    default:
      return finishReason;
  }
}

function halves(text: string): string[] {
  const middle = Math.ceil(text.length / 2);
  return [text.slice(0, middle), text.slice(middle)];
}
