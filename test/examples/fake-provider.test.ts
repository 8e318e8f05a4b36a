import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createFakeProvider, type FakeProvider } from "../../examples/providers/fake-provider.js";
import { seededRandom } from "../../examples/seeded-random.js";

const QUICK = { kind: "healthy", minMs: 0, maxMs: 5 } as const;

describe("a fake provider, asked by the real SDK over HTTP", () => {
  let provider: FakeProvider;
  let client: OpenAI;
  const ask = (signal?: AbortSignal) =>
    client.chat.completions.create(
      { model: "test-model", messages: [{ role: "user", content: "hello" }] },
      { ...(signal && { signal }) },
    );

  beforeEach(async () => {
    provider = await createFakeProvider("anthropic", seededRandom(1), QUICK);
    client = new OpenAI({ baseURL: provider.baseURL, apiKey: "none", maxRetries: 0 });
  });
  afterEach(() => provider.close());

  it("answers with a completion of the model that was asked for, and counts the request", async () => {
    const completion = await ask();
    expect(completion.model).toBe("test-model");
    expect(completion.choices[0]?.message.content).toContain("anthropic");
    expect(provider.status().requests).toBe(1);
  });

  it.each([
    [429, "rate_limit_exceeded"],
    [500, null],
    [503, "server_is_overloaded"],
  ] as const)("answers %i with the body that goes with it", async (status, code) => {
    await provider.behave({ kind: "error", status });
    await expect(ask()).rejects.toMatchObject({ status, code });
  });

  it("answers 529 in the shape of an overloaded provider", async () => {
    await provider.behave({ kind: "error", status: 529 });
    await expect(ask()).rejects.toMatchObject({ status: 529, error: { type: "overloaded_error" } });
  });

  it("says how long to wait with a 429", async () => {
    await provider.behave({ kind: "error", status: 429 });
    const error = await ask().catch((reason: unknown) => reason);
    expect(error instanceof OpenAI.APIError && error.headers?.get("retry-after-ms")).toBe("494");
  });

  it("hangs until the caller gives up", async () => {
    await provider.behave({ kind: "hang" });
    const patience = new AbortController();
    const asking = ask(patience.signal);
    while (provider.status().requests === 0) await new Promise((resolve) => setImmediate(resolve));
    patience.abort();
    await expect(asking).rejects.toThrow(/abort/i);
  });

  it("drops the connection in the middle of a body", async () => {
    await provider.behave({ kind: "cut" });
    await expect(ask()).rejects.toThrow();
    expect(provider.status().requests).toBe(1);
  });

  it("refuses connections while it is dead, and answers on the same address when it is back", async () => {
    await ask();
    await provider.behave({ kind: "dead" });
    const error = await ask().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OpenAI.APIConnectionError);
    expect(provider.status().requests).toBe(1);
    await provider.behave(QUICK);
    await expect(ask()).resolves.toBeDefined();
  });
});
