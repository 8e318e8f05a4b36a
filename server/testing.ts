/**
 * `paramedic/testing`: what an app needs to test how it bears its providers' bad days, without a network.
 *
 * @example
 * import { createFixtureProvider, providerReplies } from "paramedic/testing";
 *
 * const provider = await createFixtureProvider([providerReplies.openai.overloaded, { kind: "answer", text: ["hello"] }]);
 * const llm = paramedic.llm({ providers: [{ name: "openai", baseURL: provider.baseURL, apiKey: "none", model: "m" }] });
 * await llm.chat({ messages: [{ role: "user", content: "Hello" }] }); // asked twice
 * await provider.close();
 */
export type { FixtureBehaviour, FixtureRequest, StreamEnd } from "./testing/fixture-behaviour.js";
export { createFixtureProvider, type FixtureProvider, type FixtureScript } from "./testing/fixture-provider.js";
export { answerTo, event, type HealthyAnswer } from "./testing/healthy-answer.js";
export { type FixtureReply, providerReplies } from "./testing/provider-replies.js";
