/** An HTTP answer that says failure, as an error for the guard and as an answer again for the client that asked. */
import { classify } from "../../../shared/classify.js";
import { CircuitBreakerError } from "../../circuit/circuit-breaker-error.js";
import { GuardError } from "../guard-error.js";
import { bytesWithin, jsonOf, textOf } from "./bounded-body.js";
import { MalformedResponseError } from "./malformed-response-error.js";
import { statusOfClass, withoutLength } from "./reveal-failures.js";
import { StreamedError } from "./stream/chat-reader.js";
import { StreamBrokenError } from "./stream/stream-broken-error.js";

/** Tells SDKs of Stainless's making not to ask again: the guard has. */
const DO_NOT_RETRY = "x-should-retry";

export class FailedResponse extends Error {
  override readonly name = "APIError";
  readonly status: number;
  readonly headers: Headers;
  /** The body, parsed where it is JSON. */
  readonly error: unknown;
  readonly #body: Uint8Array<ArrayBuffer>;
  readonly #statusText: string;
  readonly #url: string;

  private constructor({ status, statusText, headers, url }: Response, body: Uint8Array<ArrayBuffer>) {
    super(`HTTP ${status}`);
    this.status = status;
    this.headers = headers;
    this.error = jsonOf(textOf(body));
    this.#body = body;
    this.#statusText = statusText;
    this.#url = url;
  }

  /** @throws MalformedResponseError when its body is longer than an answer may be */
  static async of(service: string, response: Response): Promise<FailedResponse> {
    return new FailedResponse(response, await bytesWithin(service, response));
  }

  /** As it came. */
  get response(): Response {
    return this.#with(this.headers);
  }

  /** As it came, marked as final. */
  get finalResponse(): Response {
    const headers = withoutLength(this.headers);
    headers.set(DO_NOT_RETRY, "false");
    return this.#with(headers);
  }

  #with(headers: Headers): Response {
    const response = new Response(this.#body, { status: this.status, statusText: this.#statusText, headers });
    // A response that was made here has no address of its own.
    return Object.defineProperty(response, "url", { value: this.#url });
  }
}

/**
 * What ended a request without an answer, in the shape of one, for SDKs that would ask again after an error that `fetch`
 * throws. Undefined for what only the network knows.
 */
export function finalAnswer(error: unknown, service: string): Response | undefined {
  const headers = new Headers({ "content-type": "application/json", [DO_NOT_RETRY]: "false" });
  if (error instanceof GuardError || error instanceof CircuitBreakerError) {
    const { message, retryAfterMs } = error;
    if (retryAfterMs !== undefined) headers.set("retry-after-ms", String(Math.ceil(retryAfterMs)));
    const code = "circuitName" in error ? "circuit_open" : error.reason;
    return errorResponse(statusOf(error), { type: "paramedic_refusal", code, message }, headers);
  }
  if (error instanceof StreamBrokenError) {
    return errorResponse(statusOf(error), { type: "stream_broken", code: error.how, message: error.message }, headers);
  }
  if (error instanceof MalformedResponseError) {
    const { message } = error;
    return errorResponse(502, { type: "malformed_response", code: "malformed_response", message }, headers);
  }
  // A provider that began a stream and said in it what other times is an answer of its own.
  if (error instanceof StreamedError) {
    return errorResponse(statusOfClass(classify(error, service).reason), error.error, headers);
  }
  return undefined;
}

function errorResponse(status: number, error: unknown, headers: Headers): Response {
  return new Response(JSON.stringify({ type: "error", error }), { status, headers });
}

function statusOf({ code }: GuardError | CircuitBreakerError | StreamBrokenError): number {
  switch (code) {
    case "GATEWAY_TIMEOUT":
      return 504;
    case "BAD_GATEWAY":
      return 502;
    case "TOO_MANY_REQUESTS":
      return 429;
    default:
      return 503;
  }
}
