/**
 * One attempt and, each time it is late, one more beside it: the first to succeed, or to reach the caller, wins, and the
 * others are called off. Ends badly when the last attempt has, or one whose error no other attempt would change.
 *
 * What is late is found out by a timer, in whosever async context that runs; each attempt is begun after an `await` of the
 * caller's own, so that it runs in the caller's.
 */
import { Deadline, type TimerWheel } from "../circuit/timer-wheel.js";
import type { Clock } from "../ports/clock.js";
import type { Attempt, AttemptOwner } from "./attempt.js";
import type { HedgeEnd } from "./hedge-record.js";
import type { RescuableCall } from "./rescuable-call.js";
import { isCallersOwn } from "./sighting.js";

/** What a race asks of its call. */
export interface HedgedCall extends RescuableCall, Pick<AttemptOwner, "runsAgain" | "signal"> {
  delivered(): void;
  /** One more attempt, admitted now, or why there is none. */
  hedge(): Attempt | string;
  start(attempt: Attempt, owner: AttemptOwner): void;
  /** Counts how it ended; says whether it gave a value. */
  conclude(attempt: Attempt): boolean;
  noteHedge(end: HedgeEnd): void;
}

const CALLED_OFF = new DOMException("another attempt answered first", "AbortError");

export class HedgeRace {
  readonly #call: HedgedCall;
  readonly #first: Attempt;
  readonly #running = new Set<Attempt>();
  readonly #late: Lateness;
  readonly #outcome: Promise<unknown>;
  #resolve: (value: unknown) => void = ignore;
  #reject: (error: unknown) => void = ignore;
  /** Has reached the caller, or will. */
  #winner: Attempt | undefined = undefined;
  #isOver = false;

  constructor(call: HedgedCall, first: Attempt) {
    this.#call = call;
    this.#first = first;
    this.#late = new Lateness(call.engine);
    this.#outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // It may settle before anybody waits for it.
    this.#outcome.catch(ignore);
  }

  async run(): Promise<unknown> {
    const { service, now } = this.#first;
    const { clock } = this.#call.engine;
    const lateAfterMs = service.lateAfterMs();
    this.#begin(this.#first, undefined);
    for (let hedges = service.policy.hedge?.maxHedges ?? 0; hedges > 0; hedges -= 1) {
      if (lateAfterMs === undefined || this.#isOver || !(await this.#late.after(lateAfterMs))) break;
      const lateMs = clock.monotonic() - now;
      const attempt = this.#call.hedge();
      if (typeof attempt === "string") {
        service.countHedge("refused");
        this.#call.noteHedge({ service, target: service, lateMs, durationMs: 0, status: "skipped", refused: attempt });
        break;
      }
      this.#begin(attempt, lateMs);
    }
    return this.#outcome;
  }

  /** @param lateMs of a hedge: how late the first attempt was when it began */
  #begin(attempt: Attempt, lateMs: number | undefined): void {
    const call = this.#call;
    this.#running.add(attempt);
    call.start(attempt, {
      attemptEnded: () => this.#ended(attempt, lateMs),
      delivered: () => {
        this.#answered(attempt);
        call.delivered();
      },
      remainingMs: () => call.remainingMs(),
      runsAgain: call.runsAgain,
      info: call.info,
      signal: call.signal,
    });
  }

  #ended(attempt: Attempt, lateMs: number | undefined): void {
    this.#running.delete(attempt);
    const isCalledOff = attempt.state === "aborted" && attempt.result === CALLED_OFF;
    const hasValue = this.#call.conclude(attempt);
    if (lateMs !== undefined) this.#account(attempt, lateMs);
    if (hasValue) {
      this.#answered(attempt);
      this.#resolve(attempt.result);
    } else if (isCalledOff) {
      // It would have taken longer still: without it, what is usual would look ever quicker.
      attempt.service.learnAnswer(attempt.durationMs);
    } else if (this.#running.size === 0 || attempt === this.#winner || this.#isHopeless()) {
      this.#end(attempt);
      this.#reject(attempt.result);
    }
  }

  /** The caller gets what this attempt gives, and nothing of any other. */
  #answered(attempt: Attempt): void {
    if (this.#winner !== undefined) return;
    const { service, now } = attempt;
    service.learnAnswer(this.#call.engine.clock.monotonic() - now);
    this.#winner = attempt;
    this.#end(attempt);
  }

  #end(last: Attempt): void {
    this.#isOver = true;
    this.#late.over();
    for (const attempt of this.#running) if (attempt !== last) attempt.callOff(CALLED_OFF);
  }

  /** What ended last is the caller's own fault: everybody else would say the same. */
  #isHopeless(): boolean {
    const last = this.#call.record.last;
    return last !== undefined && isCallersOwn(last.classification);
  }

  #account({ state, service: target, durationMs }: Attempt, lateMs: number): void {
    const { service } = this.#first;
    const hasWon = state === "succeeded";
    service.countHedge(hasWon ? "won" : "lost");
    if (state === "aborted") return;
    const status = hasWon ? "succeeded" : "failed";
    this.#call.noteHedge({ service, target, lateMs, durationMs, status, refused: undefined });
  }
}

/** Tells when an attempt is late, unless the race is over before. */
class Lateness extends Deadline {
  readonly #clock: Clock;
  readonly #timers: TimerWheel;
  #tell: (isLate: boolean) => void = ignore;

  constructor({ clock, timers }: { readonly clock: Clock; readonly timers: TimerWheel }) {
    super();
    this.#clock = clock;
    this.#timers = timers;
  }

  after(delayMs: number): Promise<boolean> {
    this.#timers.arm(this, this.#clock.monotonic(), delayMs);
    return new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  override onDeadline(): void {
    this.#tell(true);
  }

  over(): void {
    this.#timers.cancel(this);
    this.#tell(false);
  }
}

function ignore(): void {}
