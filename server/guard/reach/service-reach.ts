/** Remembers which procedures ask which services. Guards tell it at each attempt, so telling costs a comparison and a count. */
import type { ServiceUse } from "../../../shared/coverage.js";
import type { Clock } from "../../ports/clock.js";

/** Procedures and services are part of an app's code; names that are made up at run time must not grow this for ever. */
const MOST_USES = 5_000;

interface Use {
  readonly path: string;
  count: number;
  /** Monotonic. */
  lastAt: number;
}

/** The procedures that ask one service. */
export class Callers {
  readonly #reach: ServiceReach;
  readonly #byPath = new Map<string, Use>();
  /** Of the last attempt: comparing its path costs less than a look-up. */
  #last: Use | undefined = undefined;

  constructor(reach: ServiceReach) {
    this.#reach = reach;
  }

  /** @param now monotonic milliseconds */
  asked(path: string, now: number): void {
    const use = this.#last?.path === path ? this.#last : this.#useOf(path);
    if (use === undefined) return;
    this.#last = use;
    use.count += 1;
    use.lastAt = now;
  }

  uses(): IterableIterator<Readonly<Use>> {
    return this.#byPath.values();
  }

  #useOf(path: string): Use | undefined {
    const known = this.#byPath.get(path);
    if (known !== undefined || !this.#reach.makeRoom()) return known;
    const made = { path, count: 0, lastAt: 0 };
    this.#byPath.set(path, made);
    return made;
  }
}

export class ServiceReach {
  /** Attempts of no call that have not ended: what they send looks like what nobody guards. */
  unlinked = 0;
  readonly #callers = new Map<string, Callers>();
  #uses = 0;
  #unlisted = 0;

  /** To be kept by whoever guards the service. */
  callersOf(service: string): Callers {
    const known = this.#callers.get(service);
    if (known !== undefined) return known;
    const made = new Callers(this);
    this.#callers.set(service, made);
    return made;
  }

  /** @example reach.proceduresOf("llm:openai") // ["ask", "summaries.make"] */
  proceduresOf(service: string): readonly string[] {
    const callers = this.#callers.get(service);
    return callers === undefined ? [] : Array.from(callers.uses(), ({ path }) => path).sort();
  }

  uses(clock: Clock): readonly ServiceUse[] {
    const wallAtZero = clock.now() - clock.monotonic();
    const uses = [...this.#callers].flatMap(([service, callers]) =>
      Array.from(callers.uses(), ({ path, count, lastAt }) => ({
        procedure: path,
        service,
        count,
        lastSeenAt: Math.round(wallAtZero + lastAt),
      })),
    );
    return uses.sort((a, b) => order(a.procedure, b.procedure) || order(a.service, b.service));
  }

  /** Attempts of uses that had no room. */
  get unlisted(): number {
    return this.#unlisted;
  }

  /** One more use; `false`, and counted, where there is no room for it. */
  makeRoom(): boolean {
    if (this.#uses >= MOST_USES) {
      this.#unlisted += 1;
      return false;
    }
    this.#uses += 1;
    return true;
  }
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
