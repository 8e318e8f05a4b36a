/** One fake provider of the demo: the fixture of `paramedic/testing`, whose behaviour can be changed while it runs. */
import {
  createFixtureProvider,
  type FixtureBehaviour,
  type FixtureReply,
  providerReplies,
} from "../../server/testing.js";
import type { Behaviour, ProviderStatus } from "./behaviour.js";

export interface FakeProvider {
  /** Ends in `/v1`, as a client's `baseURL` does; the same for the provider's whole life. */
  readonly baseURL: string;
  status(): ProviderStatus;
  /** Calls under way keep the behaviour they began with, unless the provider dies: then their connections are cut. */
  behave(behaviour: Behaviour): Promise<void>;
  close(): Promise<void>;
}

/** @param random numbers in [0, 1) that spread the answering times */
export async function createFakeProvider(name: string, random: () => number, first: Behaviour): Promise<FakeProvider> {
  let behaviour = first;
  const text = [`${name}: please bring your insurance card`, " and arrive ten minutes early."];

  const next = (): FixtureBehaviour => {
    switch (behaviour.kind) {
      case "healthy": {
        const { minMs, maxMs } = behaviour;
        return { kind: "answer", text, delayMs: minMs + (maxMs - minMs) * random() ** 3 };
      }
      case "error":
        return errorReply(behaviour.status);
      case "cut":
        return { kind: "cut" };
      case "hang":
      case "dead":
        return { kind: "hang" };
    }
  };
  const provider = await createFixtureProvider(next);

  return Object.freeze({
    baseURL: provider.baseURL,
    status: () => ({ behaviour, requests: provider.requests.length }),
    async behave(changed: Behaviour) {
      behaviour = changed;
      if (changed.kind === "dead") await provider.die();
      else await provider.revive();
    },
    close: provider.close,
  });
}

function errorReply(status: 429 | 500 | 503 | 529): FixtureReply {
  switch (status) {
    case 429:
      return providerReplies.openai.rateLimited;
    case 500:
      return providerReplies.openai.serverError;
    case 503:
      return providerReplies.openai.overloaded;
    case 529:
      return providerReplies.anthropic.overloaded;
  }
}
