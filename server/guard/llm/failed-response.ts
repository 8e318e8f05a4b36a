/** An HTTP answer that says failure, as an error for the guard and as an answer again for the client that asked. */
import type { CircuitBreakerError } from "../../circuit/circuit-breaker-error.js";
import type { GuardError } from "../guard-error.js";

/** Tells SDKs of Stainless's making not to ask again: the guard has. */
const DO_NOT_RETRY = "x-should-retry";

export class FailedResponse extends Error {
  override readonly name = "APIError";
  readonly status: number;
  readonly headers: Headers;
  /** The body, parsed where it is JSON. */
  readonly error: unknown;
  readonly #text: string;
  readonly #response: Response;

  private constructor(response: Response, text: string) {
    super(`HTTP ${response.status}`);
    this.status = response.status;
    this.headers = response.headers;
    this.error = parse(text);
    this.#text = text;
    this.#response = response;
  }

  static async of(response: Response): Promise<FailedResponse> {
    return new FailedResponse(response, await response.clone().text());
  }

  /** As it came. */
  get response(): Response {
    return this.#response;
  }

  /** As it came, marked as final. */
  get finalResponse(): Response {
    const { status, statusText } = this.#response;
    const headers = new Headers(this.headers);
    headers.delete("content-length");
    headers.delete("content-encoding");
    headers.set(DO_NOT_RETRY, "false");
    return new Response(this.#text, { status, statusText, headers });
  }
}

/** A guard's refusal in the shape of an answer, for SDKs that would ask again after an error that `fetch` throws. */
export function refusalResponse(error: GuardError | CircuitBreakerError): Response {
  const code = "circuitName" in error ? "circuit_open" : error.reason;
  const headers = new Headers({ "content-type": "application/json", [DO_NOT_RETRY]: "false" });
  if (error.retryAfterMs !== undefined) headers.set("retry-after-ms", String(Math.ceil(error.retryAfterMs)));
  return new Response(
    JSON.stringify({ type: "error", error: { type: "paramedic_refusal", code, message: error.message, param: null } }),
    { status: statusOf(error), headers },
  );
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
