/** The `openai` package as guarded requests use it: loaded when it is first needed, with nothing of its own in the way. */
import type OpenAI from "openai";
import { ParamedicError } from "../../../shared/errors.js";
import { MAX_TIMER_MS } from "../../../shared/units.js";
import { type LlmProvider, serviceOf } from "./provider.js";
import { type Fetch, revealFailures } from "./reveal-failures.js";

export type OpenAiSdk = typeof OpenAI;

/** One client for each provider. */
export interface OpenAiClients {
  /** @throws ParamedicError `PEER_MISSING` while the package is not installed; the next request looks again. */
  of(provider: LlmProvider): Promise<OpenAI>;
}

export function createOpenAiClients(fetch: Fetch, loadSdk: () => Promise<OpenAiSdk> = loadOpenAi): OpenAiClients {
  const clients = new Map<string, Promise<OpenAI>>();
  return {
    of(provider) {
      const known = clients.get(provider.name);
      if (known !== undefined) return known;
      const made = loadSdk().then((Sdk) => makeClient(Sdk, provider, fetch));
      clients.set(provider.name, made);
      // Once the package is installed, the next request finds it.
      made.catch(() => clients.delete(provider.name));
      return made;
    },
  };
}

async function loadOpenAi(): Promise<OpenAiSdk> {
  try {
    return (await import("openai")).default;
  } catch (cause) {
    throw new ParamedicError("PEER_MISSING", "llm needs the `openai` package; run: npm install openai", { cause });
  }
}

function makeClient(Sdk: OpenAiSdk, provider: LlmProvider, fetch: Fetch): OpenAI {
  return new Sdk({
    apiKey: provider.apiKey,
    baseURL: provider.baseURL,
    // Nested retries multiply and know neither circuit nor budget.
    maxRetries: 0,
    // Off: the guard owns the deadline, and zero would end every request at once.
    timeout: MAX_TIMER_MS,
    // Else the SDK takes them from the environment and sends one provider's account to another.
    organization: null,
    project: null,
    // Its log would hold prompts.
    logLevel: "off",
    fetch: revealFailures(serviceOf(provider), fetch),
    ...(provider.headers && { defaultHeaders: provider.headers }),
  });
}
