/**
 * The circuits of one process by name: one object per name, bounded, a tree of what is general and what is special, and one
 * place to hear of all their transitions. It is one file because a circuit that comes or leaves changes all of that at once.
 */
import type { CircuitTransition } from "../../shared/circuit.js";
import { ParamedicError } from "../../shared/errors.js";
import { systemClock } from "../ports/clock.js";
import { type Logger, silentLogger } from "../ports/logger.js";
import { CircuitBreaker, type CircuitBreakerDeps, type StoredState } from "./circuit-breaker.js";
import {
  type CircuitBreakerOptions,
  checkCircuitName,
  resolveCircuitConfig,
  sameCircuitConfig,
} from "./circuit-config.js";
import type { CircuitNotice } from "./circuit-notice.js";
import type { Instant } from "./circuit-restore.js";
import { ancestorsOf, type ParentRule, parentOf, tripsParent } from "./key-tree.js";
import { createPanicThreshold, type PanicReport, type PanicThreshold } from "./panic-threshold.js";
import { createTimerWheel, type TimerWheel } from "./timer-wheel.js";

export interface CircuitBreakerRegistryDeps
  extends Omit<CircuitBreakerDeps, "above" | "classify" | "enforce" | "onTransition"> {
  /** What an error means to the circuit of that name. @default client errors, aborts and other guards' refusals are ignored */
  readonly classify?: (error: unknown, name: string) => ReturnType<NonNullable<CircuitBreakerDeps["classify"]>>;
  /** Whether the circuit of that name may refuse calls. @default always */
  readonly enforce?: (name: string) => boolean;
  /** @default silent */
  readonly logger?: Logger;
  /** Told when more circuits opened by themselves than may refuse at once, so that somebody is called. Must not throw. */
  readonly onPanic?: (report: PanicReport) => void;
}

export interface CircuitBreakerRegistryOptions {
  /** Circuits kept; 1 to 1,000,000. @default 1_000 */
  readonly maxCircuits?: number | undefined;
  /**
   * From ten circuits on, the share of them that may refuse calls by themselves at once; beyond it a circuit that opens only
   * measures, as `metrics_only` does. 0 to 1; 1 for no threshold. @default 0.5
   */
  readonly panicShare?: number | undefined;
  /** The share of the circuits right below one that have tripped when it trips with them; above 0, at most 1. @default 0.75 */
  readonly parentShare?: number | undefined;
  /** How many of them at least; 1 to 1,000,000. @default 2 */
  readonly parentMinimum?: number | undefined;
}

export const REGISTRY_DEFAULTS = Object.freeze({
  maxCircuits: 1_000,
  panicShare: 0.5,
  parentShare: 0.75,
  parentMinimum: 2,
}) satisfies Required<CircuitBreakerRegistryOptions>;

/** Making a circuit beyond the bound looks at so many of the others, by turns: it costs the same however many there are. */
const MOST_LOOKS = 1_000;

/** Above the circuits that have nothing above them; no circuit has this name. */
const TOP = "";

/** Hears of circuits as they are made and as they move. A listener that throws disturbs nobody. */
export interface CircuitListener {
  readonly created?: (breaker: CircuitBreaker) => void;
  readonly transitioned?: (transition: CircuitTransition, breaker: CircuitBreaker) => void;
  /** After each transition, and each time a circuit took over where it is stored to be. */
  readonly moved?: (breaker: CircuitBreaker) => void;
}

/**
 * Beyond `maxCircuits` the closed circuit that was used least recently leaves, so that names made from user input cannot grow
 * without bound. Open, half-open, held circuits and those with a streak never leave, even if that exceeds the bound. Of more
 * than a thousand circuits that many are looked at for each that is made, by turns.
 *
 * A name may be narrowed down with `/`: `llm:openai/gpt-4.1-mini/cred:ab12` lies below `llm:openai/gpt-4.1-mini`, and that
 * below `llm:openai`. A circuit that trips does not trip those beside it. When `parentShare` of the circuits right below a
 * name have tripped, and `parentMinimum` of them, its circuit trips with them (`children_open`); it is made then if nobody
 * did. While a circuit refuses, all below it refuse; the calls of those below are the probes that close it again.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID` when an option is out of its range
 * @example
 * const circuits = new CircuitBreakerRegistry();
 * await circuits.getOrCreate("http:billing", { failureThreshold: 5 }).execute(() => fetch(url));
 */
export class CircuitBreakerRegistry {
  readonly #breakers = new Map<string, CircuitBreaker>();
  #turns = this.#breakers.values();
  readonly #listeners = new Set<CircuitListener>();
  readonly #conflicts = new Set<string>();
  readonly #deps: CircuitBreakerRegistryDeps;
  readonly #logger: Logger;
  readonly #maxCircuits: number;
  readonly #parentRule: ParentRule;
  readonly #panic: PanicThreshold;
  /** By the name right above. */
  readonly #children = new Map<string, Set<CircuitBreaker>>();
  #ready: Promise<void> | undefined = undefined;
  /** Shared by all circuits, and by the guards in front of them. */
  readonly timers: TimerWheel;

  constructor(deps: CircuitBreakerRegistryDeps = {}, options: CircuitBreakerRegistryOptions = {}) {
    this.#deps = deps;
    this.#logger = deps.logger ?? silentLogger;
    const settled = {
      maxCircuits: options.maxCircuits ?? REGISTRY_DEFAULTS.maxCircuits,
      panicShare: options.panicShare ?? REGISTRY_DEFAULTS.panicShare,
      parentShare: options.parentShare ?? REGISTRY_DEFAULTS.parentShare,
      parentMinimum: options.parentMinimum ?? REGISTRY_DEFAULTS.parentMinimum,
    };
    const problems = problemsOf(settled);
    if (problems.length > 0) throw new ParamedicError("CONFIGURATION_INVALID", problems.join("; "));
    this.#maxCircuits = settled.maxCircuits;
    this.#parentRule = { share: settled.parentShare, minimum: settled.parentMinimum };
    this.#panic = createPanicThreshold(settled.panicShare, (report) => this.#reportPanic(report));
    this.timers = deps.timers ?? createTimerWheel(deps.clock ?? systemClock);
  }

  /**
   * The circuit of that name, made on first use. The first configuration stays; a different one later is logged once and has
   * no effect.
   *
   * @throws ParamedicError `CONFIGURATION_INVALID` when an option is out of its range, or the name is none
   */
  getOrCreate(name: string, options?: CircuitBreakerOptions): CircuitBreaker {
    const known = this.#breakers.get(name);
    if (known !== undefined) {
      if (options !== undefined) this.#reportConflict(known, options);
      return known;
    }
    checkCircuitName(name);
    const breaker: CircuitBreaker = new CircuitBreaker(name, options, {
      ...this.#depsOf(name),
      onTransition: (transition) => {
        this.#each((listener) => listener.transitioned?.(transition, breaker));
        this.#moved(breaker, transition);
      },
    });
    if (this.#ready !== undefined) breaker.waitFor(this.#ready);
    this.#makeRoom();
    this.#breakers.set(name, breaker);
    this.#siblingsOf(name).add(breaker);
    this.#panic.moved(name, false, this.#breakers.size);
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

  /** Lets a circuit take over where it is stored to be, after a restart. */
  restore(breaker: CircuitBreaker, stored: StoredState, instant: Instant): void {
    breaker.restore(stored, instant);
    this.#moved(breaker, undefined);
  }

  /** Lets a circuit take over where another living instance moved it. */
  adopt(breaker: CircuitBreaker, stored: StoredState, instant: Instant): void {
    breaker.adopt(stored, instant);
    this.#moved(breaker, undefined);
  }

  /** Open circuits that do not refuse because too many opened at once, and how often that was so. */
  panic(): ReturnType<PanicThreshold["state"]> {
    return this.#panic.state();
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
    const { classify, enforce, logger: _logger, onPanic: _onPanic, ...deps } = this.#deps;
    const ancestors = ancestorsOf(name);
    return {
      ...deps,
      timers: this.timers,
      ...(classify && { classify: (error: unknown) => classify(error, name) }),
      enforce: () => this.#panic.allows(name) && (enforce === undefined || enforce(name)),
      onNotice: this.#reportNotice,
      above: () => this.#nearest(ancestors),
    };
  }

  #nearest(names: readonly string[]): CircuitBreaker | undefined {
    for (const name of names) {
      const breaker = this.#breakers.get(name);
      if (breaker !== undefined) return breaker;
    }
    return undefined;
  }

  /** The circuits right below the same name, whether or not there is a circuit of that name; or at the top. */
  #siblingsOf(name: string): Set<CircuitBreaker> {
    const parent = parentOf(name) ?? TOP;
    const siblings = this.#children.get(parent) ?? new Set();
    this.#children.set(parent, siblings);
    return siblings;
  }

  /** @param transition undefined where the circuit took over what is stored */
  #moved(breaker: CircuitBreaker, transition: CircuitTransition | undefined): void {
    this.#panic.moved(breaker.name, !breaker.isClosed && transition?.reason !== "operator", this.#breakers.size);
    this.#each((listener) => listener.moved?.(breaker));
    if (breaker.state === "open") this.#tripParentOf(breaker, transition?.failureEventId);
  }

  #tripParentOf(breaker: CircuitBreaker, failureEventId: string | undefined): void {
    const name = parentOf(breaker.name);
    if (name === undefined) return;
    const siblings = this.#siblingsOf(breaker.name);
    let tripped = 0;
    for (const sibling of siblings) if (!sibling.isClosed) tripped += 1;
    if (!tripsParent(tripped, siblings.size, this.#parentRule)) return;
    const parent = this.getOrCreate(name, this.#breakers.has(name) ? undefined : breaker.options);
    if (parent.isClosed) parent.forceOpen("children_open", failureEventId);
  }

  #reportPanic(report: PanicReport): void {
    const { open, total, allowed } = report;
    try {
      this.#logger.error(
        { event: "circuits", subject: "panic threshold", ...report },
        `${open} of ${total} circuits opened by themselves and ${allowed} may refuse calls: the others only measure; look for what they share`,
      );
      this.#deps.onPanic?.(report);
    } catch (error) {
      this.#fault(error);
    }
  }

  /** One function for all circuits. The circuit counts what is thrown here as a fault. */
  readonly #reportNotice = (notice: CircuitNotice): void => {
    const { circuitName, rule, reason, failureCount } = notice;
    this.#logger.warn(
      { event: "circuit", subject: circuitName, rule, reason, failureCount },
      `circuit "${circuitName}" would have opened by its ${rule === "shadow" ? "shadow rule" : "rule, but only measures"}`,
    );
    this.#deps.onNotice?.(notice);
  };

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

  /** Makes room for one more, and for a second one once circuits that had to stay beyond the bound have come to rest. */
  #makeRoom(): void {
    const beyond = this.#breakers.size - this.#maxCircuits;
    if (beyond === 0) this.#evictOldest(MOST_LOOKS);
    for (let leaving = beyond > 0 ? 2 : 0; leaving > 0; leaving -= 1) this.#evictOldest(MOST_LOOKS / 2);
  }

  #evictOldest(mostLooks: number): void {
    const { size } = this.#breakers;
    if (size <= mostLooks) this.#turns = this.#breakers.values();
    let oldest: CircuitBreaker | undefined;
    for (let looks = Math.min(size, mostLooks); looks > 0; looks -= 1) {
      const breaker = this.#nextInTurn();
      const isOlder = oldest === undefined || (breaker?.lastUsedAt ?? 0) < oldest.lastUsedAt;
      if (isOlder && breaker?.atRest) oldest = breaker;
    }
    if (oldest !== undefined) this.#evict(oldest);
  }

  /** Begins again at the first circuit after the last one. */
  #nextInTurn(): CircuitBreaker | undefined {
    const { value, done } = this.#turns.next();
    if (done !== true) return value;
    this.#turns = this.#breakers.values();
    return this.#turns.next().value;
  }

  #evict(breaker: CircuitBreaker): void {
    this.#breakers.delete(breaker.name);
    const siblings = this.#siblingsOf(breaker.name);
    siblings.delete(breaker);
    if (siblings.size === 0) this.#children.delete(parentOf(breaker.name) ?? TOP);
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

function problemsOf(options: Required<Record<keyof CircuitBreakerRegistryOptions, number>>): readonly string[] {
  const { maxCircuits, panicShare, parentShare, parentMinimum } = options;
  const whole = (value: number) => Number.isInteger(value) && value >= 1 && value <= 1_000_000;
  return [
    ...(whole(maxCircuits) ? [] : [`maxCircuits must be a whole number in [1, 1000000], got ${maxCircuits}`]),
    ...(panicShare >= 0 && panicShare <= 1 ? [] : [`panicShare must be in [0, 1], got ${panicShare}`]),
    ...(parentShare > 0 && parentShare <= 1 ? [] : [`parentShare must be above 0 and at most 1, got ${parentShare}`]),
    ...(whole(parentMinimum) ? [] : [`parentMinimum must be a whole number in [1, 1000000], got ${parentMinimum}`]),
  ];
}
