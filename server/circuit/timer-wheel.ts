/**
 * All deadlines of a process on one timer. Arming and cancelling link an entry into a slot and out of it, and set the timer
 * only where the deadline comes before its next beat. None fires early.
 *
 * While anything is armed the timer beats every 20 ms; an idle wheel holds none. How late the beats come tells how late the
 * event loop is, and each deadline that fires is told by how much it was while that one was armed: so a timeout can be told
 * from a process that got no processor to hear the answer.
 *
 * Most calls end within milliseconds, so `armLoosely` does not even read the clock: the entry waits in a list of fresh ones
 * until the next beat, and only what is still there then gets its time and its slot.
 *
 * The timer is a patient one: else one stall of the event loop would end every call that is under way.
 */
import { type Clock, setPatientTimer, type Timer } from "../ports/clock.js";

const SLOT_MS = 64;
/** A power of two. One round of 32 s holds the default timeouts; a later deadline waits in its slot for its round. */
const SLOTS = 512;

/** The slot of what is not armed. */
export const UNARMED = -1;
const FIRING = -2;
const FRESH = -3;

/** How often the timer fires, and how late a loosely armed deadline may, while the event loop keeps up. */
const BEAT_MS = 20;
/** Below this, 20 ms would be more than 2 % late: such a deadline is armed exactly. */
const LOOSE_FROM_MS = 50 * BEAT_MS;
/** Bounds the list of fresh entries where no timer gets its turn. */
const MAX_FRESH = 64;

/** Something with a deadline. `onDeadline` must not throw. */
export abstract class Deadline {
  /** Monotonic; of a fresh entry, its delay. */
  deadlineAt: number;
  /** Of the wheel: how late the loop had been in all, when this one was armed. */
  lateBefore: number;
  slot: number;
  previous: Deadline | undefined;
  next: Deadline | undefined;

  /** Assigned here, because initialisers of fields cost several times more and every call makes one of these. */
  constructor() {
    this.deadlineAt = 0;
    this.lateBefore = 0;
    this.slot = UNARMED;
    this.previous = undefined;
    this.next = undefined;
  }

  /** @param lateMs by which the event loop was late in all since it was armed */
  abstract onDeadline(lateMs: number): void;
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
  /** When the first entry of `fresh` was armed, and how late the loop had been by then. */
  let freshSince = 0;
  let lateBeforeFresh = 0;
  let size = 0;
  /** Everything due before this has fired: what is armed for an earlier time goes into this time's slot. */
  let sweptUntil = Number.NEGATIVE_INFINITY;
  let wakeAt = Number.POSITIVE_INFINITY;
  let timer: Timer | undefined;
  /** By how much all beats so far came late. */
  let lateMs = 0;

  /**
   * With what the next beat is overdue by: whoever arms in the middle of a block is not told of its beginning. In whole
   * milliseconds, because a fraction in a field costs every call an allocation.
   */
  const lateUntil = (now: number): number => (lateMs + overdue(now)) | 0;
  const overdue = (now: number): number => Math.max(0, now - wakeAt);

  const link = (deadline: Deadline, at: number, lateBefore: number): void => {
    deadline.lateBefore = lateBefore;
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

  const wakeBy = (at: number): void => {
    if (at >= wakeAt) return;
    const now = clock.monotonic();
    timer?.cancel();
    wakeAt = Math.max(now, Math.min(at, now + BEAT_MS));
    timer = setPatientTimer(clock, sweep, wakeAt - now);
  };

  const arm = (deadline: Deadline, now: number, delayMs: number): void => {
    link(deadline, now + delayMs, lateUntil(now));
    wakeBy(now + delayMs);
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

  /** The first deadline before the next beat. */
  const nearest = (now: number): number => {
    let at = now + BEAT_MS;
    for (let tick = tickOf(now); tick <= tickOf(now + BEAT_MS); tick += 1) {
      for (let entry = heads[tick & (SLOTS - 1)]; entry !== undefined; entry = entry.next) {
        if (entry.deadlineAt < at) at = entry.deadlineAt;
      }
    }
    return at;
  };

  function sweep(): void {
    const now = clock.monotonic();
    timer = undefined;
    placeFresh(now);
    lateMs += overdue(now);
    wakeAt = Number.POSITIVE_INFINITY;
    const due = takeDue(now);
    if (size > 0) wakeBy(nearest(now));
    for (const deadline of due) {
      // An earlier one in this list may have cancelled it or armed it anew.
      if (deadline.slot !== FIRING) continue;
      deadline.slot = UNARMED;
      deadline.onDeadline(lateUntil(now) - deadline.lateBefore);
    }
  }

  function placeFresh(now: number): void {
    // Of the first one the time is known; the others were armed at some time since, and must not fire early.
    let armedAt = freshSince;
    let lateBefore = lateBeforeFresh;
    const lateNow = lateUntil(now);
    for (const deadline of fresh) {
      if (deadline.slot === FRESH) link(deadline, armedAt + deadline.deadlineAt, lateBefore);
      armedAt = now;
      lateBefore = lateNow;
    }
    fresh.length = 0;
  }

  return {
    arm,
    armLoosely(deadline, delayMs) {
      if (delayMs < LOOSE_FROM_MS) {
        arm(deadline, clock.monotonic(), delayMs);
        return;
      }
      if (fresh.length === 0) {
        freshSince = clock.monotonic();
        lateBeforeFresh = lateUntil(freshSince);
        wakeBy(freshSince + BEAT_MS);
      }
      deadline.deadlineAt = delayMs;
      deadline.slot = FRESH;
      if (fresh.push(deadline) >= MAX_FRESH) placeFresh(clock.monotonic());
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
