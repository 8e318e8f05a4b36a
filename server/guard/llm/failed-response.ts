/** An HTTP answer that says failure, as an error for the guard and as an answer again for the client that asked. */
import type { CircuitBreakerError } from "../../circuit/circuit-breaker-error.js";
import type { GuardError } from "../guard-error.js";
import { bytesWithin, textOf } from "./bounded-body.js";
import type { MalformedResponseError } from "./malformed-response-error.js";

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
    this.error = parse(textOf(body));
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
    const headers = new Headers(this.headers);
    headers.delete("content-length");
    headers.delete("content-encoding");
    headers.set(DO_NOT_RETRY, "false");
    return this.#with(headers);
  }

  #with(headers: Headers): Response {
    const response = new Response(this.#body, { status: this.status, statusText: this.#statusText, headers });
    // A response that was made here has no address of its own.
    return Object.defineProperty(response, "url", { value: this.#url });
  }
}

/** A guard's refusal in the shape of an answer, for SDKs that would ask again after an error that `fetch` throws. */
export function refusalResponse(error: GuardError | CircuitBreakerError): Response {
  const code = "circuitName" in error ? "circuit_open" : error.reason;
  const headers = new Headers({ "content-type": "application/json", [DO_NOT_RETRY]: "false" });
  if (error.retryAfterMs !== undefined) headers.set("retry-after-ms", String(Math.ceil(error.retryAfterMs)));
  return errorResponse(statusOf(error), { type: "paramedic_refusal", code, message: error.message }, headers);
}

/** An answer that could not be read, in the shape of one that can. */
export function unusableResponse({ message }: MalformedResponseError): Response {
  const headers = new Headers({ "content-type": "application/json", [DO_NOT_RETRY]: "false" });
  return errorResponse(502, { type: "malformed_response", code: "malformed_response", message }, headers);
}

function errorResponse(
  status: number,
  error: { readonly type: string; readonly code: string; readonly message: string },
  headers: Headers,
): Response {
  return new Response(JSON.stringify({ type: "error", error: { ...error, param: null } }), { status, headers });
}

function statusOf({ code }: GuardError | CircuitBreakerError): number {
  switch (code) {
    case "GATEWAY_TIMEOUT":
      return 504;
    case "TOO_MANY_REQUESTS":
      return 429;
    default:
      return 503;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
