/**
 * A language model of the Vercel AI SDK that is several: each call is asked of the first model that can answer it. Built on
 * the part of the specification that versions 3 and 4 share, so that it needs neither at run time.
 */
import { readProperty } from "../../../shared/error-facts.js";
import { ParamedicError } from "../../../shared/errors.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { Clock } from "../../ports/clock.js";
import type { MetricSink } from "../../ports/metric-sink.js";
import type { GuardContext } from "../guard.js";
import type { Guards } from "../guards.js";
import type { RunTarget } from "../run.js";
import { windowTraits } from "./context-window.js";
import { type GenAiMeter, measured, startMeter } from "./gen-ai-meter.js";
import { keyOfModel } from "./key-in-use.js";
import { linkedController } from "./linked-controller.js";
import { finalModelError } from "./model-call-error.js";
import { requireTimeout } from "./provider.js";
import { providerNameOfModel } from "./provider-name.js";
import { partsOf } from "./provider-parts.js";
import { StreamedError } from "./stream/chat-reader.js";
import { openStream } from "./stream/opened-stream.js";
import { PartReader } from "./stream/part-reader.js";
import { watchStream } from "./stream/watch-stream.js";

/** What every version of the specification from 3 on has. */
export interface AnyLanguageModel {
  readonly specificationVersion: string;
  readonly provider: string;
  readonly modelId: string;
  readonly supportedUrls: SupportedUrls | PromiseLike<SupportedUrls>;
  doGenerate(options: never): PromiseLike<unknown>;
  doStream(options: never): PromiseLike<{ readonly stream: ReadableStream<unknown> }>;
}

export type SupportedUrls = Record<string, RegExp[]>;

/** The model as the AI SDK uses it, without what else its class may have. */
export type GuardedLanguageModel<M extends AnyLanguageModel> = Pick<M, keyof AnyLanguageModel>;

export interface GuardedModelOptions {
  /** Bounds one call with all its rescues, a whole stream too; 1 to 2^31-1 ms. @default the tRPC call's own deadline */
  readonly timeoutMs?: number | undefined;
  /** The longest silence between two pieces of a stream's content; 1 to 2^31-1 ms. @default 30_000 */
  readonly stallTimeoutMs?: number | undefined;
  /** Tokens that a model takes, by service: a request that is too long goes on to the next that takes more. @default unknown */
  readonly contextWindows?: Readonly<Record<string, number>> | undefined;
  /** Names the operation in failure events. @default "llm.model" */
  readonly name?: string | undefined;
}

export interface LanguageModelDeps {
  readonly run: Guards["run"];
  readonly clock: Clock;
  readonly sink: MetricSink;
}

interface ModelTarget {
  readonly service: string;
  readonly model: AnyLanguageModel;
}

/** What a model is called with, as far as it is read here. */
type CallOptions = Readonly<Record<string, unknown>> & { readonly abortSignal?: AbortSignal | undefined };

/** @throws ParamedicError `OPERATION_INVALID` without a model, or for models of different versions of the specification. */
export function createGuardedModel<M extends AnyLanguageModel>(
  { run, clock, sink }: LanguageModelDeps,
  models: Readonly<Record<string, M>>,
  options: GuardedModelOptions = {},
): GuardedLanguageModel<M> {
  const { timeoutMs, stallTimeoutMs = 30 * SECOND_MS, contextWindows = {}, name = "llm.model" } = options;
  const asked: readonly ModelTarget[] = Object.entries(models).map(([service, model]) => ({ service, model }));
  const first = requireModels(models);
  requireTimeout("timeoutMs", timeoutMs);
  requireTimeout("stallTimeoutMs", stallTimeoutMs);

  const targetsFor = <T>(ask: (target: ModelTarget, context: GuardContext, meter: GenAiMeter) => Promise<T>) => {
    const windows = windowTraits(asked.map(({ service }) => contextWindows[service]));
    return asked.map((target, index): RunTarget<T> => {
      const { service, model } = target;
      return {
        service,
        ...windows[index],
        parts: partsOf({ service, model: model.modelId, apiKey: keyOfModel(model) }),
        run(context) {
          const meter = startMeter(clock, sink, {
            service,
            operation: "chat",
            provider: providerNameOfModel(model.provider),
            model: model.modelId,
            used: context.used.bind(context),
          });
          return measured(meter, { service, signal: context.signal }, () => ask(target, context, meter));
        },
      };
    });
  };

  const doGenerate = async (call: CallOptions): Promise<unknown> => {
    const targets = targetsFor(async ({ model }, { signal }, meter) => {
      const result = await model.doGenerate(callWith(call, signal));
      if (finishOf(result) === "error") throw new StreamedError({ type: "server_error" });
      meter.succeeded(readProperty(result, "usage"));
      return result;
    });
    try {
      return await run<unknown>(name, { targets, timeoutMs, signal: call.abortSignal, idempotent: true });
    } catch (error) {
      throw finalModelError(error);
    }
  };

  const doStream = async (call: CallOptions): Promise<unknown> => {
    const opened = await openStream<unknown, object, void>(
      call.abortSignal,
      async ({ signal, give, begun }) => {
        const targets = targetsFor(async ({ service, model }, context, meter) => {
          const request = linkedController([context.signal]);
          const { stream, ...head } = await model.doStream(callWith(call, request.signal));
          const reader = new PartReader();
          await watchStream(clock, {
            service,
            source: stream,
            reader,
            context,
            give,
            stallTimeoutMs,
            onFirstContent() {
              meter.firstContent();
              begun(head, { service, received: () => reader.received });
            },
            hangUp: () => request.abort(),
          });
          meter.succeeded(reader.usage);
        });
        await run<void>(name, { targets, timeoutMs, signal, idempotent: true });
      },
      // The SDK's own way to say it: what came before stays readable.
      (error) => [{ type: "error", error }],
    ).catch((error: unknown) => {
      throw finalModelError(error);
    });
    return opened === undefined ? { stream: emptyStream() } : { ...opened.head, stream: opened.stream };
  };

  const model: AnyLanguageModel = {
    specificationVersion: first.specificationVersion,
    provider: first.provider,
    modelId: first.modelId,
    supportedUrls: commonUrls(asked.map(({ model: one }) => one.supportedUrls)),
    doGenerate,
    doStream: doStream as AnyLanguageModel["doStream"],
  };
  return asModel<M>(model);
}

function requireModels(models: Readonly<Record<string, AnyLanguageModel>>): AnyLanguageModel {
  const [first, ...others] = Object.values(models);
  if (first === undefined) {
    throw new ParamedicError(
      "OPERATION_INVALID",
      'a guarded model needs models, such as { "llm:openai": openai("…") }',
    );
  }
  const other = others.find(({ specificationVersion }) => specificationVersion !== first.specificationVersion);
  if (other !== undefined) {
    throw new ParamedicError(
      "OPERATION_INVALID",
      `models of specification ${first.specificationVersion} and ${other.specificationVersion} cannot stand in for each other; use one major version of the AI SDK's providers`,
    );
  }
  return first;
}

/** Sound because a model is called with what the guarded model was called with, and both are of one version. */
function callWith(call: CallOptions, abortSignal: AbortSignal): never {
  return { ...call, abortSignal } as never;
}

/** Sound because results are handed through, and the models are of one version. */
function asModel<M extends AnyLanguageModel>(model: AnyLanguageModel): GuardedLanguageModel<M> {
  return model as GuardedLanguageModel<M>;
}

function finishOf(result: unknown): unknown {
  const reason = readProperty(result, "finishReason");
  return readProperty(reason, "unified") ?? reason;
}

/** What one of the models would have to download is downloaded for all: only what every one takes by its address is left. */
async function commonUrls(all: readonly AnyLanguageModel["supportedUrls"][]): Promise<SupportedUrls> {
  const [first = {}, ...others] = await Promise.all(all);
  const common = Object.entries(first).map(([mediaType, patterns]) => {
    const shared = patterns.filter((pattern) =>
      others.every((other) => other[mediaType]?.some((known) => String(known) === String(pattern)) === true),
    );
    return [mediaType, shared] as const;
  });
  return Object.fromEntries(common.filter(([, patterns]) => patterns.length > 0));
}

function emptyStream(): ReadableStream<never> {
  return new ReadableStream({ start: (stream) => stream.close() });
}
