/** `paramedic/ai-sdk`: guarded language models for the Vercel AI SDK, versions 6 and 7. */
import type { Paramedic } from "./door.js";
import {
  type AnyLanguageModel,
  createGuardedModel,
  type GuardedLanguageModel,
  type GuardedModelOptions,
} from "./guard/llm/language-model.js";
import { systemClock } from "./ports/clock.js";

export type { AnyLanguageModel, GuardedLanguageModel, GuardedModelOptions } from "./guard/llm/language-model.js";

/**
 * One model out of several, in order of preference by service: guarded, and failing over until a stream's first content. When
 * all have failed it ends with an error that the AI SDK does not retry; leave `maxRetries` as it is.
 *
 * A stream that breaks after its first content ends with an `error` part whose error is a `StreamBrokenError`.
 *
 * @throws ParamedicError `OPERATION_INVALID` without a model, or for models of different versions of the specification.
 * @example
 * import { guardedModel } from "paramedic/ai-sdk";
 *
 * const model = guardedModel(paramedic, {
 *   "llm:openai": openai("gpt-4.1-mini"),
 *   "llm:anthropic": anthropic("claude-sonnet-4-5"),
 * });
 * const { text } = await generateText({ model, prompt: "Hello" });
 */
export function guardedModel<M extends AnyLanguageModel>(
  paramedic: Pick<Paramedic, "run" | "metrics">,
  models: Readonly<Record<string, M>>,
  options?: GuardedModelOptions,
): GuardedLanguageModel<M> {
  return createGuardedModel({ run: paramedic.run, sink: paramedic.metrics, clock: systemClock }, models, options);
}
