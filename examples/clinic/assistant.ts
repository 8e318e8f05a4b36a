/** What the clinic asks a model, and what it tells a patient. */
import type { ChatCompletion, ChatCompletionMessageParam } from "openai/resources/chat/completions";

export interface Answer {
  readonly text: string;
  /** The provider that answered, or the front desk where none could. */
  readonly answeredBy: string;
}

/** Who answers while no provider does, and what a patient reads then. */
export const FRONT_DESK = "front desk";
export const AWAY = "The assistant is away; call the front desk.";

export function messagesFor(question: string): ChatCompletionMessageParam[] {
  return [
    { role: "system", content: "You answer questions of a clinic's patients in one sentence." },
    { role: "user", content: question },
  ];
}

export function textOf(completion: ChatCompletion): string {
  return completion.choices[0]?.message.content ?? "";
}
