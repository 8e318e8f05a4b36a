/** Measures requests to LLM providers under OpenTelemetry's GenAI names: time, tokens and cost, never what was said. */
import { classify } from "../../../shared/classify.js";
import { readProperty } from "../../../shared/error-facts.js";
import type { Tags } from "../../../shared/series.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { Clock } from "../../ports/clock.js";
import type { MetricSink, SeriesHandle } from "../../ports/metric-sink.js";
import type { GuardContext } from "../guard.js";
import type { LlmPrice } from "./provider.js";

/** OpenTelemetry's words for what was asked. */
export type GenAiOperation = "chat" | "embeddings" | "generate_content";

export interface GenAiRequest {
  readonly service: string;
  readonly operation: GenAiOperation;
  /** `gen_ai.provider.name`. */
  readonly provider: string;
  readonly model: string;
  /** @default unknown: no cost is recorded */
  readonly price?: LlmPrice | undefined;
  /** Told what a request used, for budgets; nothing where the provider does not say. */
  readonly used?: GuardContext["used"] | undefined;
}

/** One request that is under way. */
export interface GenAiMeter {
  /** The first content came. */
  firstContent(): void;
  /** @param usage as the provider's API spells it; what it does not say is not recorded, because it may have been billed */
  succeeded(usage: unknown): void;
  /** @param errorType the class of the error */
  failed(errorType: string): void;
}

export function startMeter(clock: Clock, sink: MetricSink, request: GenAiRequest): GenAiMeter {
  return createMeters(clock, sink, request)(request.used);
}

/** Starts a meter for each of many requests that are alike: their series are looked up once. */
export function createMeters(
  clock: Clock,
  sink: MetricSink,
  { service, operation, provider, model, price }: Omit<GenAiRequest, "used">,
): (used: GenAiRequest["used"]) => GenAiMeter {
  const tags: Tags = {
    "gen_ai.operation.name": operation,
    "gen_ai.provider.name": provider,
    "gen_ai.request.model": model,
  };
  const known = new Map<string, SeriesHandle>();
  const record = (metricName: string, unit: string, value: number, tag?: string, said = ""): void => {
    const key = tag === undefined ? metricName : `${metricName} ${said}`;
    let series = known.get(key);
    if (series === undefined) {
      series = sink.series({
        metricType: "operation",
        metricName,
        kind: "histogram",
        unit,
        source: service,
        tags: tag === undefined ? tags : { ...tags, [tag]: said },
      });
      known.set(key, series);
    }
    series.record(value);
  };
  return (used) => {
    const startedAt = clock.monotonic();
    const passedS = () => (clock.monotonic() - startedAt) / SECOND_MS;
    return {
      firstContent: () => record("gen_ai.client.operation.time_to_first_chunk", "s", passedS()),
      succeeded(usage) {
        record("gen_ai.client.operation.duration", "s", passedS());
        const { input, output, cached } = tokensOf(usage);
        if (input !== undefined) {
          record("gen_ai.client.token.usage", "{token}", input, "gen_ai.token.type", "input");
        }
        if (output !== undefined) {
          record("gen_ai.client.token.usage", "{token}", output, "gen_ai.token.type", "output");
        }
        const cost = price && costOf(price, { input, output, cached });
        if (input !== undefined) used?.({ tokens: input + (output ?? 0), cost });
        if (cost !== undefined) record("paramedic.llm.cost", price?.currency ?? "USD", cost);
      },
      failed: (errorType) => record("gen_ai.client.operation.duration", "s", passedS(), "error.type", errorType),
    };
  };
}

/**
 * Runs one request and records how it failed, if it does. What a deadline or a caller ended failed for that reason, whatever
 * a client makes of it.
 *
 * @example await measured(meter, { service, signal }, () => ask())
 */
export async function measured<T>(
  meter: GenAiMeter | undefined,
  { service, signal }: { readonly service: string; readonly signal: AbortSignal },
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    meter?.failed(classify(signal.aborted ? signal.reason : error, service).reason);
    throw error;
  }
}

export interface Tokens {
  readonly input: number | undefined;
  readonly output: number | undefined;
  /** Those of the input that the provider had kept. */
  readonly cached: number;
}

/**
 * Tokens as OpenAI, Anthropic, Google and the AI SDK count them.
 *
 * @example tokensOf({ prompt_tokens: 11, completion_tokens: 7 }) // { input: 11, output: 7, cached: 0 }
 */
export function tokensOf(usage: unknown): Tokens {
  const read = (...path: readonly string[]) => path.reduce<unknown>((value, key) => readProperty(value, key), usage);
  const cacheRead = numberOf(read("cache_read_input_tokens"));
  const cacheWritten = numberOf(read("cache_creation_input_tokens"));
  const anthropicInput = numberOf(read("input_tokens"));
  return {
    input: firstNumber(
      read("prompt_tokens"),
      // Anthropic counts what it had kept beside the rest, the others within it.
      anthropicInput === undefined ? undefined : anthropicInput + (cacheRead ?? 0) + (cacheWritten ?? 0),
      read("promptTokenCount"),
      read("inputTokens", "total"),
      read("inputTokens"),
    ),
    output: firstNumber(
      read("completion_tokens"),
      read("output_tokens"),
      read("candidatesTokenCount"),
      read("outputTokens", "total"),
      read("outputTokens"),
    ),
    cached:
      firstNumber(
        read("prompt_tokens_details", "cached_tokens"),
        cacheRead,
        read("cachedContentTokenCount"),
        read("inputTokens", "cacheRead"),
        // DeepSeek's.
        read("prompt_cache_hit_tokens"),
      ) ?? 0,
  };
}

/** Undefined where the provider did not say how many tokens it took: unknown is not free. */
function costOf(price: LlmPrice, { input, output, cached }: Tokens): number | undefined {
  if (input === undefined) return undefined;
  const { inputPerMillion, outputPerMillion, cachedInputPerMillion = inputPerMillion } = price;
  const kept = Math.min(cached, input);
  const perMillion = (input - kept) * inputPerMillion + kept * cachedInputPerMillion + (output ?? 0) * outputPerMillion;
  return perMillion / 1_000_000;
}

function firstNumber(...values: readonly unknown[]): number | undefined {
  return values.map(numberOf).find((value) => value !== undefined);
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 && Number.isFinite(value) ? value : undefined;
}
