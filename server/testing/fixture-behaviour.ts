/** How a fixture provider may answer one request. */
import type { HealthyAnswer } from "./healthy-answer.js";

/** What became of a stream after some of its events. */
export type StreamEnd =
  /** The connection is closed in good order, as if nothing were missing. */
  | "closed"
  /** The connection is dropped. */
  | "cut"
  /** Nothing more comes. */
  | "stalled"
  /** Only comments come, `: keep-alive`, for ever: bytes without content. */
  | "keep_alive"
  /** An event follows that is no JSON; then the connection is closed. */
  | "malformed"
  /** An event follows that says `error`; then the connection is closed. */
  | "error";

export type FixtureBehaviour =
  /** In good health: the API that was asked answers, whole or as a stream as the request wants it. */
  | ({ readonly kind: "answer"; readonly delayMs?: number | undefined } & HealthyAnswer)
  /** Exactly this, whatever was asked. A body that is no text is sent as JSON. */
  | {
      readonly kind: "reply";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>> | undefined;
      readonly body: unknown;
      readonly delayMs?: number | undefined;
    }
  /** A healthy stream up to and with event number `after`, and then its end. */
  | ({
      readonly kind: "stream";
      readonly after: number;
      readonly end: StreamEnd;
      readonly error?: unknown;
    } & HealthyAnswer)
  /** These events, each as `event()` writes it, then closed in good order. */
  | { readonly kind: "events"; readonly events: readonly string[] }
  /** The request is taken and never answered. */
  | { readonly kind: "hang" }
  /** Headers and half of a body, then the connection is dropped. */
  | { readonly kind: "cut" }
  /** The connection is dropped before anything is answered. */
  | { readonly kind: "reset" };

/** A request as it arrived. */
export interface FixtureRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed; empty where it is no JSON object. */
  readonly body: Readonly<Record<string, unknown>>;
  /** The client hung up before the answer was whole. */
  readonly hungUp: boolean;
}
