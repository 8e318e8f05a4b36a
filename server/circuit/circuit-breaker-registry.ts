/** The circuits of one process by name: one object per name, bounded, and one place to hear of all their transitions. */
import type { CircuitTransition } from "../../shared/circuit.js";
import { ParamedicError } from "../../shared/errors.js";
import { systemClock } from "../ports/clock.js";
import { type Logger, silentLogger } from "../ports/logger.js";
import { CircuitBreaker, type CircuitBreakerDeps } from "./circuit-breaker.js";
import { type CircuitBreakerOptions, resolveCircuitConfig, sameCircuitConfig } from "./circuit-config.js";
import { createTimerWheel, type TimerWheel } from "./timer-wheel.js";

export interface CircuitBreakerRegistryDeps extends Omit<CircuitBreakerDeps, "classify" | "enforce" | "onTransition"> {
  /** What an error means to the circuit of that name. @default client errors, aborts and other guards' refusals are ignored */
  readonly classify?: (error: unknown, name: string) => ReturnType<NonNullable<CircuitBreakerDeps["classify"]>>;
  /** Whether the circuit of that name may refuse calls. @default always */
  readonly enforce?: (name: string) => boolean;
  /** @default silent */
  readonly logger?: Logger;
}

export interface CircuitBreakerRegistryOptions {
  /** Circuits kept; 1 to 1,000,000. @default 1_000 */
  readonly maxCircuits?: number;
}

/** Hears of circuits as they are made and as they move. A listener that throws disturbs nobody. */
export interface CircuitListener {
  readonly created?: (breaker: CircuitBreaker) => void;
  readonly transitioned?: (transition: CircuitTransition, breaker: CircuitBreaker) => void;
}

/**
 * Beyond `maxCircuits` the closed circuit that was used least recently leaves, so that names made from user input cannot grow
 * without bound. Open, half-open, held circuits and those with a streak never leave, even if that exceeds the bound.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID` when `maxCircuits` is out of its range
 * @example
 * const circuits = new CircuitBreakerRegistry();
 * await circuits.getOrCreate("http:billing", { failureThreshold: 5 }).execute(() => fetch(url));
 */
export class CircuitBreakerRegistry {
  readonly #breakers = new Map<string, CircuitBreaker>();
  readonly #listeners = new Set<CircuitListener>();
  readonly #conflicts = new Set<string>();
  readonly #deps: CircuitBreakerRegistryDeps;
  readonly #logger: Logger;
  readonly #maxCircuits: number;
  #ready: Promise<void> | undefined = undefined;
  /** Shared by all circuits, and by the guards in front of them. */
  readonly timers: TimerWheel;

  constructor(deps: CircuitBreakerRegistryDeps = {}, options: CircuitBreakerRegistryOptions = {}) {
    this.#deps = deps;
    this.#logger = deps.logger ?? silentLogger;
    this.#maxCircuits = options.maxCircuits ?? 1_000;
    if (!Number.isInteger(this.#maxCircuits) || this.#maxCircuits < 1 || this.#maxCircuits > 1_000_000) {
      const got = String(options.maxCircuits);
      throw new ParamedicError(
        "CONFIGURATION_INVALID",
        `maxCircuits must be a whole number in [1, 1000000], got ${got}`,
      );
    }
    this.timers = deps.timers ?? createTimerWheel(deps.clock ?? systemClock);
  }

  /**
   * The circuit of that name, made on first use. The first configuration stays; a different one later is logged once and has
   * no effect.
   *
   * @throws ParamedicError `CONFIGURATION_INVALID` when an option is out of its range
   */
  getOrCreate(name: string, options?: CircuitBreakerOptions): CircuitBreaker {
    const known = this.#breakers.get(name);
    if (known !== undefined) {
      if (options !== undefined) this.#reportConflict(known, options);
      return known;
    }
    const breaker: CircuitBreaker = new CircuitBreaker(name, options, {
      ...this.#depsOf(name),
      onTransition: (transition) => {
        this.#each((listener) => listener.transitioned?.(transition, breaker));
      },
    });
    if (this.#ready !== undefined) breaker.waitFor(this.#ready);
    if (this.#breakers.size >= this.#maxCircuits) this.#evictOne();
    this.#breakers.set(name, breaker);
    this.#each((listener) => listener.created?.(breaker));
    return breaker;
  }

  get(name: string): CircuitBreaker | undefined {
    return this.#breakers.get(name);
  }

  /** In the order in which they were made. */
  getAll(): readonly CircuitBreaker[] {
    return [...this.#breakers.values()];
  }

  /** Tells `listener` of every circuit made and every transition from now on; gives how to stop. */
  subscribe(listener: CircuitListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Lets calls through present and future circuits wait until `ready` has settled. */
  waitFor(ready: Promise<void>): void {
    const settled: Promise<void> = ready
      .catch((error: unknown) => this.#fault(error))
      .then(() => {
        if (this.#ready === settled) this.#ready = undefined;
      });
    this.#ready = settled;
    for (const breaker of this.#breakers.values()) breaker.waitFor(settled);
  }

  #depsOf(name: string): CircuitBreakerDeps {
    const { classify, enforce, logger: _logger, ...deps } = this.#deps;
    return {
      ...deps,
      timers: this.timers,
      ...(classify && { classify: (error: unknown) => classify(error, name) }),
      ...(enforce && { enforce: () => enforce(name) }),
    };
  }

  #reportConflict(known: CircuitBreaker, options: CircuitBreakerOptions): void {
    if (this.#conflicts.has(known.name) || sameCircuitConfig(known.config, resolveCircuitConfig(known.name, options))) {
      return;
    }
    if (this.#conflicts.size < this.#maxCircuits) this.#conflicts.add(known.name);
    try {
      this.#logger.warn(
        { circuitName: known.name },
        `circuit "${known.name}" exists with another configuration; the first one stays`,
      );
    } catch (error) {
      this.#fault(error);
    }
  }

  #evictOne(): void {
    let oldest: CircuitBreaker | undefined;
    let oldestAt = Number.POSITIVE_INFINITY;
    for (const breaker of this.#breakers.values()) {
      if (breaker.lastUsedAt < oldestAt && breaker.atRest) {
        oldest = breaker;
        oldestAt = breaker.lastUsedAt;
      }
    }
    if (oldest !== undefined) this.#breakers.delete(oldest.name);
  }

  #each(tell: (listener: CircuitListener) => void): void {
    for (const listener of this.#listeners) {
      try {
        tell(listener);
      } catch (error) {
        this.#fault(error);
      }
    }
  }

  #fault(error: unknown): void {
    try {
      this.#deps.onFault?.(error);
    } catch {
      // Whoever counts faults is at fault: there is nobody left to tell.
    }
  }
}
