/** What requests for one model have in common, made by the first of them: its circuits and its measurements. */
import type { Clock } from "../../ports/clock.js";
import type { MetricSink } from "../../ports/metric-sink.js";
import type { GuardContext } from "../guard.js";
import type { ServicePart } from "../service-part.js";
import { createMeters, type GenAiMeter, type GenAiOperation } from "./gen-ai-meter.js";
import { type LlmProvider, serviceOf } from "./provider.js";
import { providerNameAt } from "./provider-name.js";
import { partsOf } from "./provider-parts.js";

export interface ModelInUse {
  readonly service: string;
  readonly parts: readonly ServicePart[];
  readonly startMeter: (used: GuardContext["used"]) => GenAiMeter;
}

/** @param apiKey undefined where it is not known before the request is made */
export type ModelsInUse = (
  provider: LlmProvider,
  model: string,
  operation: GenAiOperation,
  apiKey: string | undefined,
) => ModelInUse;

/** Models are named by callers, and may be made up. */
const MOST_KEPT = 100;

/** @param providers all of them */
export function createModelsInUse(
  { clock, sink }: { readonly clock: Clock; readonly sink: MetricSink },
  providers: readonly LlmProvider[],
): ModelsInUse {
  const kept = new Map<string, ModelInUse & { readonly apiKey: string | undefined }>();
  return (provider, model, operation, apiKey) => {
    const name = `${provider.name} ${operation} ${model}`;
    const known = kept.get(name);
    if (known !== undefined && known.apiKey === apiKey) return known;
    if (kept.size >= MOST_KEPT) kept.clear();
    const service = serviceOf(provider);
    const made = {
      service,
      apiKey,
      parts: partsOf({
        service: serviceOf(sameProvider(providers, provider)),
        model,
        apiKey,
        account: provider.account,
      }),
      startMeter: createMeters(clock, sink, {
        service,
        operation,
        provider: providerNameAt(provider.baseURL, provider.name),
        model,
        price: model === provider.model ? provider.price : undefined,
      }),
    };
    kept.set(name, made);
    return made;
  };
}

/** Providers behind one address are one: they share its keys and accounts. */
function sameProvider(providers: readonly LlmProvider[], provider: LlmProvider): LlmProvider {
  return providers.find(({ baseURL }) => baseURL === provider.baseURL) ?? provider;
}
