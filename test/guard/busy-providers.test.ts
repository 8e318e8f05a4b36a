/** Providers that fail three times in ten, at a hundred calls a second, under the defaults: neither chance nor a crowd ends a call. */
import { describe, expect, it } from "vitest";
import type { GuardPolicy } from "../../server/guard/guard-policy.js";
import { fateOf } from "../support/seeded-faults.js";
import { createGuardHarness, type GuardHarness, httpError, refusedConnection } from "./guard-harness.js";

const CALLS = 400;
const PER_SECOND = 100;
const ANSWER_MS = 20;

function providersOf({ clock }: GuardHarness) {
  const attempts = new Map<string, number>();
  return (service: number) =>
    async (_context: unknown, call: number): Promise<string> => {
      const key = `${service}/${call}`;
      const attempt = attempts.get(key) ?? 0;
      attempts.set(key, attempt + 1);
      const fate = fateOf(service, 0.3, call, attempt);
      if (fate.kind === "hang") return new Promise<string>(() => {});
      await new Promise<void>((resolve) => void clock.setTimer(resolve, ANSWER_MS));
      if (fate.kind === "answer") return "an answer";
      if (fate.kind === "reply") throw httpError(fate.status === 200 ? 502 : fate.status, fate.headers);
      throw refusedConnection();
    };
}

async function answeredOf(policy: GuardPolicy): Promise<number> {
  const harness = createGuardHarness();
  const provider = providersOf(harness);
  for (const name of ["llm:a", "llm:b"]) harness.guards.guard(name, { ...policy, timeoutMs: 1_000 });
  const ask = harness.guards.operation("ask", {
    targets: { "llm:a": provider(0), "llm:b": provider(1) },
    timeoutMs: 5_000,
  });
  let answered = 0;
  const calls: Promise<void>[] = [];
  while (calls.length < CALLS) {
    calls.push(
      ask(calls.length).then(
        () => {
          answered += 1;
        },
        () => {},
      ),
    );
    await harness.clock.advance(1_000 / PER_SECOND);
  }
  for (let waited = 0; waited < 6_000; waited += 100) await harness.clock.advance(100);
  await Promise.all(calls);
  expect(harness.faults).toEqual([]);
  return answered / CALLS;
}

describe("two providers that fail three times in ten", () => {
  it("answer every call", async () => {
    expect(await answeredOf({})).toBe(1);
  });

  it("answer far fewer where five failures in a row open a circuit, which at that rate are chance", async () => {
    expect(await answeredOf({ failureThreshold: 5 })).toBeLessThan(0.97);
  });
});
