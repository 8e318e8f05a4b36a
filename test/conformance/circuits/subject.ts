/** What a scenario needs of a circuit breaker, whoever wrote it. */

/** How a scenario's circuit is set. What a library cannot be told makes its adapter throw `Unsupported`. */
export interface Setting {
  readonly window: WindowSetting;
  /** From `ms` on a call is slow; `ratio` of slow ones opens. */
  readonly slow?: { readonly ms: number; readonly ratio: number };
  /** How long it stays open. */
  readonly openMs?: number;
  /** By how much each further opening lasts longer. */
  readonly openFactor?: number;
  readonly probes?: {
    readonly permits?: number;
    /** Successes that close it, of so many probes. */
    readonly successes?: number;
    readonly of?: number;
    /** Or the share of `of` that must succeed. */
    readonly ratio?: number;
    /** How long it may stay half open before it opens again. Not kept to by libraries that know no such bound. */
    readonly maxMs?: number;
  };
}

export type WindowSetting =
  | { readonly kind: "consecutive"; readonly failures: number }
  | { readonly kind: "count"; readonly calls: number; readonly failures: number }
  | { readonly kind: "count"; readonly calls: number; readonly ratio: number; readonly minimum: number }
  | { readonly kind: "time"; readonly ms: number; readonly failures: number }
  | { readonly kind: "time"; readonly ms: number; readonly ratio: number; readonly minimum: number };

/** How a call ends: success, failure, an outcome that is to be ignored, a refusal by a guard within. */
export const RESULTS = ["S", "F", "I", "R"] as const;
export type Result = (typeof RESULTS)[number];

/** A call that was asked for: it runs, it was refused at once, or its caller waits. */
export type Asked =
  | { readonly is: "running"; end(result: Result, openForMs?: number): Promise<void> }
  | { readonly is: "refused" }
  | { readonly is: "waiting" };

export interface Subject {
  ask(): Promise<Asked>;
  state(): "closed" | "open" | "half_open";
  /** How often it has opened. */
  openings(): number;
  /** The share of failures, undefined while the calls are too few to say, `untold` where nobody can read it. */
  failureRatio(): number | undefined | "untold";
  /** How often it said that it would have opened. */
  warnings(): number;
  pass(ms: number): Promise<void>;
  stepWall(ms: number): void;
  hold(kind: "forced_open" | "disabled" | "metrics_only"): void;
  release(): void;
  /** Tries to half-open it by hand. */
  halfOpen(): void;
  /** Saves what can be saved, and goes on with a new one that was given it. */
  restart(): void;
  dispose(): void;
}

export interface Library {
  readonly name: string;
  create(setting: Setting): Subject;
}

/** The library has no word for what the scenario asks. */
export class Unsupported extends Error {}

export function unsupported(what: string): never {
  throw new Unsupported(what);
}

/** A failure of the service, and an outcome that the circuit was told to ignore. */
export class ServiceDown extends Error {}
export class NotFound extends Error {}

/** A promise that is settled from outside, and whether anybody began to wait for it. */
export class Work {
  begun = false;
  #resolve: (value: number) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  run(): Promise<number> {
    this.begun = true;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  settle(error: unknown): void {
    if (error === undefined) this.#resolve(1);
    else this.#reject(error);
  }
}

/** Asks a library for one call: `fire` begins it, `rejectionOf` makes the error of a guard within. */
export async function askOf(
  fire: (work: Work) => Promise<unknown>,
  rejection: () => Error,
  settle: () => Promise<void>,
): Promise<Asked> {
  const work = new Work();
  let ended = false;
  const call = fire(work).then(
    () => {
      ended = true;
    },
    () => {
      ended = true;
    },
  );
  await settle();
  if (!work.begun) return { is: ended ? "refused" : "waiting" };
  return {
    is: "running",
    async end(result, openForMs) {
      work.settle(errorOf(result, openForMs, rejection));
      await call;
      await settle();
    },
  };
}

function errorOf(result: Result, openForMs: number | undefined, rejection: () => Error): unknown {
  switch (result) {
    case "S":
      return undefined;
    case "F":
      return openForMs === undefined ? new ServiceDown("down") : Object.assign(new ServiceDown("busy"), { openForMs });
    case "I":
      return new NotFound("not found");
    case "R":
      return rejection();
  }
}
