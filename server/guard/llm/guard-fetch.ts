/** A guarded `fetch`, for people with a client of their own: each request is an attempt of the service's guard. */
import { readProperty } from "../../../shared/error-facts.js";
import { ParamedicError } from "../../../shared/errors.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { Clock } from "../../ports/clock.js";
import type { MetricSink } from "../../ports/metric-sink.js";
import type { GuardContext } from "../guard.js";
import type { Guards } from "../guards.js";
import { FailedResponse, finalAnswer } from "./failed-response.js";
import { type GenAiMeter, type GenAiOperation, measured, startMeter } from "./gen-ai-meter.js";
import { copyOf, type HttpRequest, readRequest } from "./http-request.js";
import { linkedController } from "./linked-controller.js";
import type { NestedRetries } from "./nested-retries.js";
import { requireTimeout } from "./provider.js";
import { providerNameAt } from "./provider-name.js";
import { partsOf } from "./provider-parts.js";
import { type Fetch, revealFailures } from "./reveal-failures.js";
import { type OpenedRun, type OpenedStream, openStream } from "./stream/opened-stream.js";
import { sseEvents } from "./stream/sse.js";
import { SseReader } from "./stream/sse-reader.js";
import { watchStream } from "./stream/watch-stream.js";

export interface GuardFetchOptions {
  /**
   * Sending a request twice does no harm. @default true for completions, embeddings and the like of `llm:*`, and for GET,
   * HEAD, OPTIONS, PUT and DELETE
   */
  readonly idempotent?: boolean | undefined;
  /** Of `llm:*`: the longest silence between two pieces of a stream's content; 1 to 2^31-1 ms. @default 30_000 */
  readonly stallTimeoutMs?: number | undefined;
  /** Who pays: keys of one account share its spent quota. @default each key's own */
  readonly account?: string | undefined;
}

export interface GuardFetchDeps {
  readonly guards: Guards;
  readonly clock: Clock;
  readonly sink: MetricSink;
  readonly nestedRetries?: NestedRetries | undefined;
}

/**
 * `fetch` behind the guard of `service`: with its circuit, deadline, bulkhead and retry budget, and for `llm:*` with circuits
 * for the model, the key and the account that a request names. A failure that nothing could rescue is answered as it came,
 * marked so that the SDKs of OpenAI and Anthropic do not ask again. What the guard refuses is an answer for them too (503, 504
 * or 429), and so is a stream that failed before its first content; every other client gets an error.
 *
 * A streamed answer of `llm:*` is given once its first content came; until then it may be asked for again. Later it ends with a
 * `StreamBrokenError` when it is cut, stalls or fails. Streams are known by `text/event-stream`: what Google's
 * `streamGenerateContent` sends without `alt=sse` is one JSON array, which is read as one answer, within the attempt's time,
 * and given when it is whole; ask with `alt=sse` to have it streamed and watched. What is read whole, JSON of `llm:*` and
 * every answer that says failure, may be 64 MiB long; what is longer is a `MalformedResponseError`, a 502 for those SDKs.
 *
 * @param fetch @default the platform's
 * @throws ParamedicError `OPERATION_INVALID` for an option out of its range
 * @example
 * const anthropic = new Anthropic({ fetch: paramedic.guardFetch("llm:anthropic"), maxRetries: 0 });
 */
export function createGuardFetch(
  deps: GuardFetchDeps,
  service: string,
  fetch: Fetch = globalThis.fetch,
  options: GuardFetchOptions = {},
): Fetch {
  const { guards, clock, sink, nestedRetries } = deps;
  const { idempotent, stallTimeoutMs = 30 * SECOND_MS, account } = options;
  requireTimeout("guardFetch: stallTimeoutMs", stallTimeoutMs);
  if (typeof fetch !== "function") throw new ParamedicError("OPERATION_INVALID", "guardFetch: fetch is not a function");
  const isLlm = service.startsWith("llm:");

  const attempt = async (
    input: string | URL | Request,
    init: RequestInit | undefined,
    request: HttpRequest,
    run: OpenedRun<Uint8Array, Response>,
    context: GuardContext,
    meter: GenAiMeter | undefined,
  ): Promise<Response | undefined> => {
    const send = isLlm ? revealFailures(service, fetch, request.completes) : fetch;
    const hangUp = linkedController([context.signal, request.signal]);
    const response = await send(copyOf(input), { ...init, signal: hangUp.signal });
    if (response.status >= 400) throw await FailedResponse.of(service, response);
    // Only of an LLM is it known what a stream should hold, and how long it may be silent.
    if (!isLlm || response.body === null || !isEventStream(response)) {
      meter?.succeeded(meter === undefined ? undefined : await usageIn(response));
      // It was read to its end already, to find failures in it: nothing is left to hang up on.
      if (isLlm && isJson(response)) hangUp.abort();
      return response;
    }
    const reader = new SseReader(service);
    const encoder = new TextEncoder();
    await watchStream(clock, {
      service,
      source: sseEvents(response.body),
      reader,
      context,
      give: ({ raw }) => run.give(encoder.encode(raw)),
      stallTimeoutMs,
      onFirstContent() {
        meter?.firstContent();
        run.begun(response, { service, received: () => reader.received });
      },
      hangUp: () => hangUp.abort(),
    });
    meter?.succeeded(reader.usage);
    return undefined;
  };

  return async (input, init) => {
    const request = readRequest(input, init);
    if ((request.sdkRetryCount ?? 0) > 0) nestedRetries?.found(service);
    const { model, apiKey } = request;
    const opened = openStream<Uint8Array, Response, Response | undefined>(request.signal, (run) =>
      guards.run<Response | undefined>(`fetch ${service}`, {
        targets: [
          {
            service,
            parts: isLlm ? partsOf({ service, model, apiKey, account }) : undefined,
            run(context) {
              const meter =
                isLlm && model !== undefined
                  ? startMeter(clock, sink, {
                      service,
                      operation: operationOf(request),
                      provider: providerNameAt(request.url, service.slice(4)),
                      model,
                      used: context.used.bind(context),
                    })
                  : undefined;
              const { signal } = context;
              return measured(meter, { service, signal }, () => attempt(input, init, request, run, context, meter));
            },
          },
        ],
        idempotent: request.repeatable ? (idempotent ?? idempotentBy(request, isLlm)) : false,
        signal: run.signal,
      }),
    );
    try {
      return responseOf(await opened);
    } catch (error) {
      const asksAgain = request.sdkRetryCount !== undefined;
      if (error instanceof FailedResponse) return asksAgain ? error.finalResponse : error.response;
      const final = asksAgain ? finalAnswer(error, service) : undefined;
      if (final !== undefined) return final;
      throw error;
    }
  };
}

function responseOf(opened: OpenedStream<Uint8Array, Response> | Response | undefined): Response {
  if (opened instanceof Response) return opened;
  if (opened === undefined) return new Response(null, { status: 200 });
  const { status, statusText, headers } = opened.head;
  return new Response(opened.stream, { status, statusText, headers });
}

/** Undefined leaves it to the guard's policy and the procedure. */
function idempotentBy({ method, completes }: HttpRequest, isLlm: boolean): boolean | undefined {
  if (IDEMPOTENT_METHODS.has(method)) return true;
  return isLlm ? completes : undefined;
}

const IDEMPOTENT_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

function operationOf({ path }: HttpRequest): GenAiOperation {
  if (/[/:](?:embed|embeddings|(?:batch)?embedContents?)$/i.test(path)) return "embeddings";
  return /:(?:stream)?generateContent$/i.test(path) ? "generate_content" : "chat";
}

async function usageIn(response: Response): Promise<unknown> {
  if (!isJson(response)) return undefined;
  try {
    const body: unknown = await response.clone().json();
    return readProperty(body, "usage") ?? readProperty(body, "usageMetadata");
  } catch {
    return undefined;
  }
}

function isEventStream(response: Response): boolean {
  return response.headers.get("content-type")?.includes("text/event-stream") === true;
}

function isJson(response: Response): boolean {
  return response.headers.get("content-type")?.includes("json") === true;
}
