/**
 * One timer for all deadlines of a process: arming and cancelling link an entry into a slot and out of it, and set no timer
 * unless the deadline is the nearest one. Deadlines fire at their exact time, never early.
 *
 * The timer stays set for the nearest deadline that was armed, also when that one was cancelled since; when it fires it
 * moves on to the nearest that is left. So an idle wheel holds at most one timer, which ends by itself.
 */
import type { Clock, Timer } from "../ports/clock.js";

const SLOT_MS = 64;
/** A power of two. One round of 32 s holds the default timeouts; a later deadline waits in its slot for its round. */
const SLOTS = 512;

const UNARMED = -1;
const FIRING = -2;

/** Something with a deadline. `onDeadline` must not throw. */
export abstract class Deadline {
  deadlineAt = 0;
  slot = UNARMED;
  previous: Deadline | undefined = undefined;
  next: Deadline | undefined = undefined;

  abstract onDeadline(): void;
}

export interface TimerWheel {
  /** @param now what `clock.monotonic()` said a moment ago; `deadline` must not be armed already */
  arm(deadline: Deadline, now: number, delayMs: number): void;
  /** Cancelling what is not armed, or has fired, does nothing. */
  cancel(deadline: Deadline): void;
  /** Deadlines armed now. */
  readonly size: number;
}

/**
 * @example
 * const wheel = createTimerWheel(clock);
 * wheel.arm(call, clock.monotonic(), 30_000);
 * wheel.cancel(call);
 */
export function createTimerWheel(clock: Clock): TimerWheel {
  /** Filled when the first deadline is armed: an idle circuit's wheel holds nothing. */
  const heads: (Deadline | undefined)[] = [];
  let size = 0;
  /** Everything due before this has fired: what is armed for an earlier time goes into this time's slot. */
  let sweptUntil = Number.NEGATIVE_INFINITY;
  let wakeAt = Number.POSITIVE_INFINITY;
  let timer: Timer | undefined;

  const link = (deadline: Deadline, at: number): void => {
    if (heads.length === 0) for (let i = 0; i < SLOTS; i += 1) heads.push(undefined);
    const slot = slotOf(Math.max(at, sweptUntil));
    const head = heads[slot];
    deadline.deadlineAt = at;
    deadline.slot = slot;
    deadline.next = head;
    if (head !== undefined) head.previous = deadline;
    heads[slot] = deadline;
    size += 1;
  };

  const unlink = (deadline: Deadline): void => {
    const { previous, next } = deadline;
    if (previous === undefined) heads[deadline.slot] = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
    deadline.previous = undefined;
    deadline.next = undefined;
    size -= 1;
  };

  const wake = (at: number, now: number): void => {
    timer?.cancel();
    wakeAt = at;
    timer = clock.setTimer(sweep, at - now);
  };

  const takeDue = (now: number): Deadline[] => {
    const due: Deadline[] = [];
    const first = Math.max(tickOf(sweptUntil), tickOf(now) - SLOTS + 1);
    for (let tick = first; tick <= tickOf(now); tick += 1) {
      for (let entry = heads[tick & (SLOTS - 1)]; entry !== undefined; ) {
        const { next } = entry;
        if (entry.deadlineAt <= now) {
          unlink(entry);
          entry.slot = FIRING;
          due.push(entry);
        }
        entry = next;
      }
    }
    sweptUntil = now;
    return due.sort((a, b) => a.deadlineAt - b.deadlineAt);
  };

  const nearest = (now: number): number => {
    const first = tickOf(now);
    for (let tick = first; tick < first + SLOTS; tick += 1) {
      const endsAt = (tick + 1) * SLOT_MS;
      let at = endsAt;
      for (let entry = heads[tick & (SLOTS - 1)]; entry !== undefined; entry = entry.next) {
        if (entry.deadlineAt < at) at = entry.deadlineAt;
      }
      if (at < endsAt) return at;
    }
    return now + (SLOTS - 1) * SLOT_MS;
  };

  function sweep(): void {
    timer = undefined;
    wakeAt = Number.POSITIVE_INFINITY;
    const now = clock.monotonic();
    const due = takeDue(now);
    if (size > 0) wake(nearest(now), now);
    for (const deadline of due) {
      // An earlier one in this list may have cancelled it or armed it anew.
      if (deadline.slot !== FIRING) continue;
      deadline.slot = UNARMED;
      deadline.onDeadline();
    }
  }

  return {
    arm(deadline, now, delayMs) {
      const at = now + delayMs;
      link(deadline, at);
      if (at < wakeAt) wake(at, now);
    },
    cancel(deadline) {
      if (deadline.slot >= 0) unlink(deadline);
      deadline.slot = UNARMED;
    },
    get size() {
      return size;
    },
  };
}

function tickOf(at: number): number {
  return Math.floor(at / SLOT_MS);
}

function slotOf(at: number): number {
  return tickOf(at) & (SLOTS - 1);
}
