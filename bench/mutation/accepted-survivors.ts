/**
 * Breaks of `server/circuit` that no test can notice, and why. Each is told by the line it is on, what is broken there and what
 * it becomes. `check-survivors.ts` holds this list against a run.
 */
export interface Accepted {
  readonly file: string;
  readonly why: string;
  readonly breaks: readonly (readonly [line: string, from: string, to: string])[];
}

const ONLY_THE_TYPE = "only the type asks: what it keeps out cannot come";

const PLAINLY_OPEN =
  'return status.state === "open" && now < status.retryAt && status.hold === undefined && this.#shadow === undefined;';

export const ACCEPTED: readonly Accepted[] = [
  {
    file: "control-messages.ts",
    why: "a message of release has no hold, which reads as undefined too",
    breaks: [
      [
        'const hold = message.type === "circuit.hold" ? message.hold : undefined;',
        'message.type === "circuit.hold"',
        "true",
      ],
    ],
  },
  {
    file: "control-messages.ts",
    why: "the last case of the switch does nothing; it is there so that a new message is not forgotten",
    breaks: [
      ['case "settings.changed":', 'case "settings.changed":…', 'case "settings.changed":'],
      ['case "settings.changed":', '"settings.changed"', '""'],
    ],
  },
  {
    file: "pending-transitions.ts",
    why: `${ONLY_THE_TYPE}: the bound is two or more`,
    breaks: [
      ["if (last === undefined || waiting.length < bound) {", "last === undefined", "false"],
      ["if (from === newest.transition.to && before !== undefined) {", "before !== undefined", "true"],
    ],
  },
  {
    file: "transition-step.ts",
    why: `${ONLY_THE_TYPE}: without a last one there is none to begin with`,
    breaks: [
      ['if (last === undefined || begin === undefined) return { type: "joined" };', "last === undefined", "false"],
    ],
  },
  {
    file: "transition-writer.ts",
    why: "the queue was dropped: nothing is left to confirm",
    breaks: [["return false;", "false", "true"]],
  },
  {
    file: "probe-turns.ts",
    why: "a third of a turn is no multiple of a tick, so that the two are never equal",
    breaks: [
      [
        "if (isUsed && now >= turn.own.renewAt) take(breaker, turn, now);",
        "now >= turn.own.renewAt",
        "now > turn.own.renewAt",
      ],
    ],
  },
  {
    file: "quorum.ts",
    why: `${ONLY_THE_TYPE}: a queue with a first one has a last one`,
    breaks: [
      [
        'return openings.get(name)?.carried !== true || pending.last?.transition.to !== "open";',
        "pending.last?.transition",
        "pending.last.transition",
      ],
    ],
  },
  {
    file: "circuit-breaker-registry.ts",
    why: "what throws there is caught and told to nobody, as there is nobody to tell",
    breaks: [["this.#deps.onFault?.(error);", "this.#deps.onFault?.(error)", "this.#deps.onFault(error)"]],
  },
  {
    file: "circuit-breaker-registry.ts",
    why: `${ONLY_THE_TYPE}: there is a circuit, or nothing would have to leave`,
    breaks: [
      [
        "const isOlder = oldest === undefined || (breaker?.lastUsedAt ?? 0) < oldest.lastUsedAt;",
        "breaker?.lastUsedAt",
        "breaker.lastUsedAt",
      ],
      ["if (isOlder && breaker?.atRest) oldest = breaker;", "breaker?.atRest", "breaker.atRest"],
    ],
  },
  {
    file: "circuit-breaker-registry.ts",
    why: "all are looked at once and in their order, wherever that begins; the first is looked at again",
    breaks: [
      ["if (size <= mostLooks) this.#turns = this.#breakers.values();", "size <= mostLooks", "size < mostLooks"],
      ["for (let looks = Math.min(size, mostLooks); looks > 0; looks -= 1) {", "looks > 0", "looks >= 0"],
    ],
  },
  {
    file: "panic-threshold.ts",
    why: "none is late then; what it saves is a copy for each circuit that moves",
    breaks: [
      ["if (refusing.size > allowed) {", "refusing.size > allowed", "true"],
      ["if (refusing.size > allowed) {", "refusing.size > allowed", "refusing.size >= allowed"],
    ],
  },
  {
    file: "circuit-breaker-registry.ts",
    why: "gives memory back, and nobody asks who is at the top",
    breaks: [
      [
        "if (siblings.size === 0) this.#children.delete(parentOf(breaker.name) ?? TOP);",
        "siblings.size === 0",
        "false",
      ],
      [
        "if (siblings.size === 0) this.#children.delete(parentOf(breaker.name) ?? TOP);",
        "parentOf(breaker.name) ?? TOP",
        "parentOf(breaker.name) && TOP",
      ],
    ],
  },
  {
    file: "circuit-breaker.ts",
    why: `${ONLY_THE_TYPE}: no other status has a time to retry at`,
    breaks: [
      [
        'nextRetryAt: status.state === "open" ? wallTime(status.retryAt, instant) : undefined,',
        'status.state === "open"',
        "true",
      ],
    ],
  },
  {
    file: "circuit-restore.ts",
    why: "a closed circuit has no time to retry at: nobody reads the one that it would be given",
    breaks: [['if (status.state !== "open") return status;', 'status.state !== "open"', "false"]],
  },
  {
    file: "circuit-reading.ts",
    why: "a closed circuit has no time to retry at: nothing is later than that",
    breaks: [['case "closed":', 'case "closed":…', 'case "closed":']],
  },
  {
    file: "circuit-core.ts",
    why: "a short cut past the machine, which says the same",
    breaks: [
      [
        "if (this.#isPlainlyOpen(at) && this.#enforced()) return undefined;",
        "this.#isPlainlyOpen(at) && this.#enforced()",
        "false",
      ],
      ["#isPlainlyOpen(now: number): boolean {", "{…", "{}"],
      [
        PLAINLY_OPEN,
        'status.state === "open" && now < status.retryAt && status.hold === undefined && this.#shadow === undefined',
        "false",
      ],
      [PLAINLY_OPEN, 'status.state === "open"', "true"],
      [PLAINLY_OPEN, 'status.state === "open"', 'status.state !== "open"'],
      [PLAINLY_OPEN, '"open"', '""'],
      ["if (this.#untold > 0) this.become(withSuccesses(this.#status, this.#untold));", "this.#untold > 0", "true"],
      [
        "if (this.#untold > 0) this.become(withSuccesses(this.#status, this.#untold));",
        "this.#untold > 0",
        "this.#untold >= 0",
      ],
    ],
  },
  {
    file: "circuit-call.ts",
    why: "a deadline that was cancelled does not fire",
    breaks: [["if (ticket === undefined) return;", "ticket === undefined", "false"]],
  },
  {
    file: "timer-wheel.ts",
    why: "says what is there already, so that V8 gives all the same shape; or costs a look more; or either is within the promise",
    breaks: [
      ["constructor() {", "{…", "{}"],
      [
        "if (heads.length === 0) heads = Array.from({ length: SLOTS }, () => undefined);",
        "heads.length === 0",
        "false",
      ],
      ["if (heads.length === 0) heads = Array.from({ length: SLOTS }, () => undefined);", "{ length: SLOTS }", "{}"],
      ["const due: Deadline[] = [];", "[]", '["Stryker was here"]'],
      ["if (entry.deadlineAt < at) at = entry.deadlineAt;", "entry.deadlineAt < at", "entry.deadlineAt <= at"],
      ["if (delayMs < LOOSE_FROM_MS) {", "delayMs < LOOSE_FROM_MS", "delayMs <= LOOSE_FROM_MS"],
      [
        "if (fresh.push(deadline) >= MAX_FRESH) placeFresh(clock.monotonic());",
        "fresh.push(deadline) >= MAX_FRESH",
        "fresh.push(deadline) > MAX_FRESH",
      ],
    ],
  },
];
