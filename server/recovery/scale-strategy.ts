/** A repair: asks whoever runs the fleet for more capacity, by a webhook. */
import { createHmac } from "node:crypto";
import { describeError } from "../../shared/describe-error.js";
import type { Failure, FailureType } from "../../shared/failure.js";
import type { RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import { MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { type Clock, systemClock } from "../ports/clock.js";

export interface ScaleWebhook {
  /** Where the request is posted. */
  readonly url: string;
  /** Signs the request: `x-paramedic-signature` is the HMAC-SHA256 of timestamp, a dot and the body, in hex. @default unsigned */
  readonly secret?: string | undefined;
  /** Capacity is asked for at most once per this time, over all instances; 1 to 2^31-1 ms. @default 600_000 */
  readonly cooldownMs?: number | undefined;
  /** 1 to 30,000 ms. @default 5_000 */
  readonly timeoutMs?: number | undefined;
}

/** What sends a request; the global `fetch` fits. */
export type PostRequest = (
  url: string,
  request: {
    readonly method: "POST";
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
    readonly redirect: "error";
    readonly signal: AbortSignal;
  },
) => Promise<{ readonly status: number }>;

export interface ScaleStrategyDeps {
  readonly clock?: Clock;
  readonly post?: PostRequest;
  readonly instance: string;
}

const DEFAULTS = { cooldownMs: 10 * MINUTE_MS, timeoutMs: 5 * SECOND_MS } as const;

/**
 * For what more processes can mend: a busy processor, a full memory, an event loop that is late. An answer of 2xx says that
 * capacity is on its way; anything else is a failure.
 *
 * @example engine.registerStrategy(new ScaleStrategy({ instance: "web-1" }, { url: "https://autoscaler.internal/paramedic" }));
 */
export class ScaleStrategy implements RecoveryStrategy {
  readonly name = "scale_webhook";
  readonly scope = "service";
  readonly actionType = "scale";
  readonly priority = 30;
  /** One for all instances: however many are in need, capacity is asked for once. */
  readonly target = "fleet";
  readonly applicableFailureTypes: readonly FailureType[] = ["cpu_saturation", "memory_pressure", "event_loop_blocked"];
  readonly cooldownMs: number;
  readonly limit: { readonly most: number; readonly windowMs: number };
  readonly #webhook: ScaleWebhook;
  readonly #clock: Clock;
  readonly #post: PostRequest;
  readonly #instance: string;

  constructor({ clock = systemClock, post = fetch, instance }: ScaleStrategyDeps, webhook: ScaleWebhook) {
    this.#webhook = webhook;
    this.#clock = clock;
    this.#post = post;
    this.#instance = instance;
    this.cooldownMs = webhook.cooldownMs ?? DEFAULTS.cooldownMs;
    this.limit = { most: 1, windowMs: this.cooldownMs };
  }

  async execute(failure: Failure): Promise<StrategyResult> {
    const startedAt = this.#clock.monotonic();
    const ended = (success: boolean, message: string): StrategyResult => ({
      success,
      actionType: this.actionType,
      actionStrategy: this.name,
      durationMs: this.#clock.monotonic() - startedAt,
      message,
    });
    try {
      const status = await this.#ask(failure);
      return status >= 200 && status < 300
        ? ended(true, `capacity was asked for and the answer was ${status}`)
        : ended(false, `capacity was asked for and the answer was ${status}`);
    } catch (error) {
      return ended(false, `capacity could not be asked for: ${describeError(error).message}`);
    }
  }

  async #ask({ eventId, failureType, affectedService, severity }: Failure): Promise<number> {
    const { url, secret, timeoutMs = DEFAULTS.timeoutMs } = this.#webhook;
    const timestamp = String(this.#clock.now());
    const want = { event: "scale", instance: this.#instance, failureEventId: eventId, failureType, severity };
    const body = JSON.stringify({ ...want, service: affectedService, at: Number(timestamp) });
    const abort = new AbortController();
    const timer = this.#clock.setTimer(() => abort.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    try {
      const { status } = await this.#post(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "x-paramedic-timestamp": timestamp,
          ...(secret !== undefined && {
            "x-paramedic-signature": createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex"),
          }),
        },
        body,
        redirect: "error",
        signal: abort.signal,
      });
      return status;
    } finally {
      timer.cancel();
    }
  }
}
