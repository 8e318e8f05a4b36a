import { describe, expect, it } from "vitest";
import { createModelsInUse } from "../../../server/guard/llm/models-in-use.js";
import { createFakeClock } from "../../support/fake-clock.js";

const openai = { name: "openai", baseURL: "https://api.openai.com/v1", apiKey: "key", model: "gpt-4.1" };
const large = { ...openai, name: "openai-large", model: "gpt-4.1-large" };

function createModels() {
  const lookedUp: string[] = [];
  const series = ({ metricName }: { readonly metricName: string }) => {
    lookedUp.push(metricName);
    return { record() {} };
  };
  const models = createModelsInUse({ clock: createFakeClock(), sink: { record() {}, series } }, [openai, large]);
  return { models, lookedUp };
}

describe("a model in use", () => {
  it("is made once for all its requests, and looks its series up once", () => {
    const { models, lookedUp } = createModels();
    for (let request = 0; request < 3; request += 1) {
      const model = models(openai, "gpt-4.1", "chat", "key");
      expect(model).toBe(models(openai, "gpt-4.1", "chat", "key"));
      model.startMeter(() => {}).succeeded({ prompt_tokens: 11, completion_tokens: 7 });
    }
    expect(lookedUp).toEqual([
      "gen_ai.client.operation.duration",
      "gen_ai.client.token.usage",
      "gen_ai.client.token.usage",
    ]);
  });

  it("is another one for another key, model, operation and provider", () => {
    const { models } = createModels();
    const first = models(openai, "gpt-4.1", "chat", "key");
    const circuitsOf = ({ parts }: typeof first) => parts.map(({ circuit }) => circuit);
    const rotated = models(openai, "gpt-4.1", "chat", "another key");
    expect(circuitsOf(rotated)[0]).toBe(circuitsOf(first)[0]);
    expect(circuitsOf(rotated).slice(1)).not.toEqual(circuitsOf(first).slice(1));
    expect(models(openai, "gpt-4.1-mini", "chat", "key")).not.toBe(first);
    expect(models(openai, "gpt-4.1", "embeddings", "key")).not.toBe(first);
    expect(models(large, "gpt-4.1", "chat", "key").service).toBe("llm:openai-large");
  });

  it("is forgotten among models that are made up without end", () => {
    const { models } = createModels();
    const first = models(openai, "gpt-4.1", "chat", "key");
    for (let number = 0; number < 200; number += 1) models(openai, `made-up-${number}`, "chat", "key");
    expect(models(openai, "gpt-4.1", "chat", "key")).not.toBe(first);
    expect(models(openai, "gpt-4.1", "chat", "key")).toEqual({ ...first, startMeter: expect.any(Function) });
  });
});
