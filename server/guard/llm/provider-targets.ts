/** Ways to ask each provider for one request, with what the guard must know of each: its circuits, its window, its measurements. */
import type OpenAI from "openai";
import { readProperty } from "../../../shared/error-facts.js";
import type { Clock } from "../../ports/clock.js";
import type { GuardContext } from "../guard.js";
import type { RunTarget } from "../run.js";
import { windowTraits } from "./context-window.js";
import { type GenAiMeter, type GenAiOperation, measured } from "./gen-ai-meter.js";
import { keyOfProvider, type Patience } from "./key-in-use.js";
import type { ModelChoice } from "./llm-requests.js";
import { MalformedResponseError } from "./malformed-response-error.js";
import type { ModelsInUse } from "./models-in-use.js";
import type { OpenAiClients } from "./openai-client.js";
import type { LlmProvider } from "./provider.js";

/** What one attempt at one provider works with. */
export interface Asking {
  readonly provider: LlmProvider;
  readonly model: string;
  readonly service: string;
  readonly client: OpenAI;
  readonly context: GuardContext;
  readonly meter: GenAiMeter;
}

export interface AskedProvider {
  readonly provider: LlmProvider;
  readonly model: string;
}

export interface ProviderTargetsDeps {
  readonly clients: OpenAiClients;
  readonly models: ModelsInUse;
  readonly clock: Clock;
}

/** Each provider with the model that it is asked for. */
export function askedFor(providers: readonly LlmProvider[], model: ModelChoice | undefined): readonly AskedProvider[] {
  return providers.map((provider, index) => ({ provider, model: modelFor(provider, index === 0, model) }));
}

/**
 * @param asked those that can answer this request, in order of preference
 * @throws ParamedicError `PEER_MISSING`: a missing package is a mistake of setup, not a failure of a provider, and is told
 *   before anything is guarded
 */
export function providerTargets<T>(
  { clients, models, clock }: ProviderTargetsDeps,
  operation: GenAiOperation,
  asked: readonly AskedProvider[],
  patience: Patience,
  ask: (asking: Asking) => Promise<T>,
): Promise<RunTarget<T>[]> {
  const windows = windowTraits(asked.map(({ provider, model }) => windowOf(provider, model)));
  return Promise.all(
    asked.map(async ({ provider, model }, index): Promise<RunTarget<T>> => {
      const [shared, key] = await Promise.all([clients.of(provider), keyOfProvider(provider, clock, patience)]);
      // The key that names the circuits is the one that is sent.
      const client = typeof provider.apiKey === "function" && key !== undefined ? withKey(shared, key) : shared;
      const { service, parts, startMeter } = models(provider, model, operation, key);
      return {
        service,
        ...windows[index],
        parts,
        run(context) {
          const meter = startMeter(context.used.bind(context));
          const { signal } = context;
          return measured(meter, { service, signal }, () =>
            ask({ provider, model, service, client, context, meter }).catch(revealed),
          );
        },
      };
    }),
  );
}

/** What our own `fetch` says of an answer is a broken connection to the SDK. */
function revealed(error: unknown): never {
  const cause = readProperty(error, "cause");
  throw cause instanceof MalformedResponseError ? cause : error;
}

function withKey(client: OpenAI, apiKey: string): OpenAI {
  return client.withOptions({ apiKey });
}

/** It is known of the provider's own model only. */
function windowOf(provider: LlmProvider, model: string): number | undefined {
  return model === provider.model ? provider.contextWindow : undefined;
}

function modelFor(provider: LlmProvider, isFirst: boolean, model: ModelChoice | undefined): string {
  if (typeof model === "string") return isFirst ? model : provider.model;
  return (model && Object.hasOwn(model, provider.name) ? model[provider.name] : undefined) ?? provider.model;
}
