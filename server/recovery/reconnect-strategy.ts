/** A repair: gives up the old connections to a database or to Redis and opens a new one, and keeps trying while it comes back. */
import { classify } from "../../shared/classify.js";
import { describeError } from "../../shared/describe-error.js";
import type { Failure, FailureType } from "../../shared/failure.js";
import type { RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import { SECOND_MS } from "../../shared/units.js";
import { type Clock, delay, systemClock } from "../ports/clock.js";

/** What is behind a service, as far as it has connections that can be replaced. */
export interface Reconnectable {
  /** Drops the connections made before now and asks a question on a new one; rejects while that cannot be. */
  reconnect(): Promise<void>;
  /** One more question. */
  ping(): unknown;
}

export interface ReconnectStrategyDeps {
  /** Undefined for a service that has none, or but one that nobody else can replace. */
  readonly reconnectable: (service: string) => Reconnectable | undefined;
  readonly clock?: Clock;
  /** What is connected to. @default "database" */
  readonly kind?: "database" | "redis";
}

/** A database that restarts is back within seconds; a repair may take 30. */
const TRY_FOR_MS = 20 * SECOND_MS;
const PAUSE = { firstMs: 250, maxMs: 2 * SECOND_MS } as const;

/**
 * @example
 * engine.registerStrategy(new ReconnectStrategy({ reconnectable: (service) => pools.get(service) }));
 */
export class ReconnectStrategy implements RecoveryStrategy {
  readonly name: "database_reconnect" | "redis_reconnect";
  readonly scope = "service";
  readonly actionType = "reconnect";
  readonly priority = 4;
  readonly applicableFailureTypes: readonly FailureType[];
  readonly #reconnectable: ReconnectStrategyDeps["reconnectable"];
  readonly #clock: Clock;

  constructor({ reconnectable, clock = systemClock, kind = "database" }: ReconnectStrategyDeps) {
    this.name = `${kind}_reconnect`;
    this.applicableFailureTypes = kind === "redis" ? ["redis_connection"] : ["database_connection"];
    this.#reconnectable = reconnectable;
    this.#clock = clock;
  }

  appliesTo({ affectedService }: Failure): boolean {
    return this.#reconnectable(affectedService) !== undefined;
  }

  async execute({ affectedService }: Failure): Promise<StrategyResult> {
    const startedAt = this.#clock.monotonic();
    const ended = (success: boolean, message: string, attempts: number): StrategyResult => ({
      success,
      actionType: this.actionType,
      actionStrategy: this.name,
      durationMs: this.#clock.monotonic() - startedAt,
      message,
      metadata: { attempts },
    });
    const target = this.#reconnectable(affectedService);
    if (target === undefined) return ended(false, `${affectedService} has no connections that could be replaced`, 0);
    let pauseMs: number = PAUSE.firstMs;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await target.reconnect();
        return ended(true, `a new connection to ${affectedService} answers`, attempt);
      } catch (error) {
        const isHopeless = !classify(error, affectedService).retryable;
        if (isHopeless || this.#clock.monotonic() - startedAt + pauseMs > TRY_FOR_MS) {
          return ended(false, describeError(error).message, attempt);
        }
        await delay(this.#clock, pauseMs);
        pauseMs = Math.min(pauseMs * 2, PAUSE.maxMs);
      }
    }
  }

  /** True when it answers once more. */
  async verify({ affectedService }: Failure): Promise<boolean> {
    const target = this.#reconnectable(affectedService);
    if (target === undefined) return false;
    await target.ping();
    return true;
  }
}
