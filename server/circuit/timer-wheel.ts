/**
 * All deadlines of a process on two timers. Arming and cancelling link an entry into a slot and out of it, and set a timer
 * only when the deadline is the nearest one. None fires early.
 *
 * Most calls end within milliseconds, so `armLoosely` does not even read the clock: the entry waits in a list of fresh ones,
 * which is looked through once in 20 ms, and only what is still there then gets its time and its slot.
 *
 * The timer stays set for the nearest deadline that was armed, also when that one was cancelled since; when it fires it
 * moves on to the nearest that is left. So an idle wheel holds no timer but those, which end by themselves.
 *
 * Where the event loop was blocked, answers wait that came in time, and timers have their turn before them. So a timer that
 * fires late lets the loop go round once before anything is due: else one stall would end every call that is under way.
 */
import type { Clock, Timer } from "../ports/clock.js";

const SLOT_MS = 64;
/** A power of two. One round of 32 s holds the default timeouts; a later deadline waits in its slot for its round. */
const SLOTS = 512;

/** The slot of what is not armed. */
export const UNARMED = -1;
const FIRING = -2;
const FRESH = -3;

/** How late a loosely armed deadline may fire, while the event loop keeps up. */
const LOOSE_MS = 20;
/** Below this, 20 ms would be more than 2 % late: such a deadline is armed exactly. */
const LOOSE_FROM_MS = 50 * LOOSE_MS;
/** Bounds the list of fresh entries where no timer gets its turn. */
const MAX_FRESH = 64;

/** A timer that fires so late was kept from its turn. */
const STALLED_MS = 50;

/** Something with a deadline. `onDeadline` must not throw. */
export abstract class Deadline {
  /** Monotonic; of a fresh entry, its delay. */
  deadlineAt: number;
  slot: number;
  previous: Deadline | undefined;
  next: Deadline | undefined;

  /** Assigned here, because initialisers of fields cost several times more and every call makes one of these. */
  constructor() {
    this.deadlineAt = 0;
    this.slot = UNARMED;
    this.previous = undefined;
    this.next = undefined;
  }

  abstract onDeadline(): void;
}

export interface TimerWheel {
  /** @param now what `clock.monotonic()` said a moment ago; `deadline` must not be armed already */
  arm(deadline: Deadline, now: number, delayMs: number): void;
  /** As `arm`, without the time: cheaper, and fires up to 20 ms late when `delayMs` is 1 s or more. */
  armLoosely(deadline: Deadline, delayMs: number): void;
  /** Cancelling what is not armed, or has fired, does nothing. */
  cancel(deadline: Deadline): void;
  /** Monotonic milliseconds, at most 20 ms old while the event loop keeps up: the clock is read only when it must be. */
  roughNow(): number;
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
  let heads: (Deadline | undefined)[] = [];
  const fresh: Deadline[] = [];
  /** When the first entry of `fresh` was armed. */
  let freshSince = 0;
  let freshTimerSet = false;
  let size = 0;
  /** Everything due before this has fired: what is armed for an earlier time goes into this time's slot. */
  let sweptUntil = Number.NEGATIVE_INFINITY;
  let wakeAt = Number.POSITIVE_INFINITY;
  let timer: Timer | undefined;
  let hasGoneRound = false;

  const link = (deadline: Deadline, at: number): void => {
    if (heads.length === 0) heads = Array.from({ length: SLOTS }, () => undefined);
    const slot = slotOf(Math.max(at, sweptUntil));
    const head = heads[slot];
    deadline.deadlineAt = at;
    deadline.slot = slot;
    deadline.next = head;
    if (head !== undefined) head.previous = deadline;
    heads[slot] = deadline;
    size += 1;
  };

  const arm = (deadline: Deadline, at: number): void => {
    link(deadline, at);
    if (at < wakeAt) wake(at);
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

  const wake = (at: number): void => {
    timer?.cancel();
    wakeAt = at;
    timer = clock.setTimer(sweep, at - clock.monotonic());
  };

  const takeDue = (now: number): Deadline[] => {
    const due: Deadline[] = [];
    const first = Math.max(tickOf(sweptUntil), tickOf(now) - SLOTS);
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
    const now = clock.monotonic();
    if (now - wakeAt >= STALLED_MS && !hasGoneRound) {
      hasGoneRound = true;
      timer = clock.setTimer(sweep, 0);
      return;
    }
    hasGoneRound = false;
    timer = undefined;
    wakeAt = Number.POSITIVE_INFINITY;
    const due = takeDue(now);
    if (size > 0) wake(nearest(now));
    for (const deadline of due) {
      // An earlier one in this list may have cancelled it or armed it anew.
      if (deadline.slot !== FIRING) continue;
      deadline.slot = UNARMED;
      deadline.onDeadline();
    }
  }

  function placeFresh(): void {
    const now = clock.monotonic();
    // Of the first one the time is known; the others were armed at some time since, and must not fire early.
    let armedAt = freshSince;
    for (const deadline of fresh) {
      if (deadline.slot === FRESH) arm(deadline, armedAt + deadline.deadlineAt);
      armedAt = now;
    }
    fresh.length = 0;
  }

  function onFreshTimer(): void {
    freshTimerSet = false;
    placeFresh();
  }

  return {
    arm: (deadline, now, delayMs) => arm(deadline, now + delayMs),
    armLoosely(deadline, delayMs) {
      if (delayMs < LOOSE_FROM_MS) {
        arm(deadline, clock.monotonic() + delayMs);
        return;
      }
      if (fresh.length === 0) {
        freshSince = clock.monotonic();
        if (!freshTimerSet) clock.setTimer(onFreshTimer, LOOSE_MS);
        freshTimerSet = true;
      }
      deadline.deadlineAt = delayMs;
      deadline.slot = FRESH;
      if (fresh.push(deadline) >= MAX_FRESH) placeFresh();
    },
    roughNow: () => (fresh.length > 0 ? freshSince : clock.monotonic()),
    cancel(deadline) {
      if (deadline.slot >= 0) unlink(deadline);
      deadline.slot = UNARMED;
    },
    get size() {
      return size + fresh.filter((deadline) => deadline.slot === FRESH).length;
    },
  };
}

function tickOf(at: number): number {
  return Math.floor(at / SLOT_MS);
}

function slotOf(at: number): number {
  return tickOf(at) & (SLOTS - 1);
}
