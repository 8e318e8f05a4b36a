/** Faults of LLM providers that a seed decides, one number of the sequence for each request. */
import { seededRandom } from "../../examples/seeded-random.js";
import type { FixtureBehaviour } from "../../server/testing.js";
import { providerReplies } from "../../server/testing.js";

const { openai, anthropic, openrouter } = providerReplies;

/** What providers are seen to do on a bad day, with how often of a hundred faults. */
const FAULTS: readonly (readonly [number, FixtureBehaviour])[] = [
  [16, openai.serverError],
  [10, openai.badGateway],
  [16, openai.overloaded],
  [6, anthropic.overloaded],
  [4, openai.gatewayTimeout],
  [8, openai.rateLimitedWithoutHint],
  [2, openai.rateLimited],
  [2, openrouter.badGatewayInsideSuccess],
  [6, { kind: "reply", status: 200, body: '{"choices": [{"mess' }],
  [10, { kind: "reset" }],
  [8, { kind: "cut" }],
  [12, { kind: "hang" }],
];

/** @param share of requests that fail, 0 to 1 */
export function seededFaults(seed: number, share: number): () => FixtureBehaviour {
  const random = seededRandom(seed);
  return () => {
    if (random() >= share) return { kind: "answer" };
    let left = random() * 100;
    for (const [weight, behaviour] of FAULTS) {
      left -= weight;
      if (left < 0) return behaviour;
    }
    return { kind: "hang" };
  };
}

/** The same fate for the same attempt of the same call, whoever asks and however long it takes. */
export function fateOf(seed: number, share: number, call: number, attempt: number): FixtureBehaviour {
  const mixed = Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(call + 1, 0x85ebca6b) ^ Math.imul(attempt + 1, 0xc2b2ae35);
  return seededFaults(mixed, share)();
}
