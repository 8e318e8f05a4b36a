/** Hedges and budgets of requests to LLM providers, over real HTTP through the real SDK. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GuardPolicy } from "../../../server/guard/guard-policy.js";
import { createFixtureProvider, type FixtureProvider, providerReplies } from "../../../server/testing.js";
import { createLlmUnderTest, providerOf, read, request } from "./llm-harness.js";

let first: FixtureProvider;
let second: FixtureProvider;

beforeEach(async () => {
  [first, second] = await Promise.all([
    createFixtureProvider(),
    createFixtureProvider([{ kind: "answer", text: ["other ", "answer"] }]),
  ]);
});
afterEach(async () => {
  await Promise.all([first.close(), second.close()]);
});

function makeLlm(policy: GuardPolicy) {
  return createLlmUnderTest({
    policy,
    providers: [
      providerOf("openai", first, { price: { inputPerMillion: 1_000, outputPerMillion: 1_000 } }),
      providerOf("deepseek", second, { price: { inputPerMillion: 1_000, outputPerMillion: 1_000 } }),
    ],
  });
}

describe("a request that is hedged", () => {
  it("is answered by the next provider while the first is late, who is hung up on", async () => {
    first.behaves({ kind: "hang" });
    const { llm, journal } = makeLlm({ hedge: { afterMs: 30, target: "next" } });
    const { value, rescue } = await llm.chatDetailed(request);
    expect(value.choices[0]?.message.content).toBe("other answer");
    expect(rescue).toMatchObject({ kind: "hedged", target: "llm:deepseek", attempts: 2 });
    expect([first.requests.length, second.requests.length]).toEqual([1, 1]);
    await expect.poll(() => first.requests[0]?.hungUp).toBe(true);
    expect(journal).toMatchObject([
      { failure: { failureType: "anomaly", affectedService: "llm:openai" }, rescued: true },
      { rescue: { actionStrategy: "hedged_request", actionType: "failover", target: "llm:deepseek" } },
    ]);
  });

  it("is asked of the same provider once more where the policy says so", async () => {
    first.behaves({ kind: "hang" }, { kind: "answer" });
    const { llm, registry } = makeLlm({ hedge: { afterMs: 30 } });
    expect((await llm.chatDetailed(request)).rescue).toMatchObject({ kind: "hedged", target: "llm:openai" });
    expect([first.requests.length, second.requests.length]).toEqual([2, 0]);
    expect(registry.get("llm:openai")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
  });

  it("streams from whoever has content first, and from nobody else", async () => {
    first.behaves({ kind: "stream", after: 1, end: "stalled" });
    const { llm } = makeLlm({ hedge: { afterMs: 30, target: "next" } });
    const stream = llm.stream(request);
    const { items, error } = await read(stream);
    expect(error).toBeUndefined();
    expect(items.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("other answer");
    expect(items.filter(({ choices }) => choices[0]?.delta.role !== undefined)).toHaveLength(1);
    expect(stream.rescue).toMatchObject({ kind: "hedged", target: "llm:deepseek" });
    await expect.poll(() => first.requests[0]?.hungUp).toBe(true);
  });
});

describe("a budget for all providers", () => {
  it("counts the tokens and the cost of what was asked again, whoever answered it", async () => {
    first.behaves(providerReplies.openai.quota);
    const { llm, guards } = makeLlm({ rescueBudget: { name: "llm", maxTokens: 100, maxCost: 1 } });
    await llm.chat(request);
    // 11 and 7 tokens of the failover, a thousandth each; the refusal of the first provider used none.
    for (const service of ["llm:openai", "llm:deepseek"]) {
      const { rescueBudget } = guards.guard(service).snapshot();
      expect(rescueBudget?.name).toBe("llm");
      expect(rescueBudget?.left.tokens).toBe(82);
      expect(rescueBudget?.left.cost).toBeCloseTo(0.982);
    }
  });

  it("once spent, gives the caller the provider's error, and asks nobody", async () => {
    first.behaves(providerReplies.openai.badGateway);
    const { llm, journal } = makeLlm({ rescueBudget: { name: "llm", maxCost: 0 } });
    await expect(llm.chat(request)).rejects.toMatchObject({ status: 502 });
    expect([first.requests.length, second.requests.length]).toEqual([1, 0]);
    expect(journal).toMatchObject([
      { rescued: false },
      {
        rescue: {
          status: "skipped",
          metadata: { refused: { exponential_backoff_retry: "budget_cost", provider_failover: "budget_cost" } },
        },
      },
    ]);
  });
});
