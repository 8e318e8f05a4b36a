/** Whether a database takes writes, as far as its answers and probes say. Pure: reads are never in question here. */

/** Why writes are impossible: the server or the file says so, or there is no room. */
export type ReadOnlyReason = "read_only" | "disk_full";

/**
 * What a probe found.
 *
 * writable     a write went through
 * read_only    reads answer, a write is refused
 * untold       reads answer; whether a write would go through can only be told by a real one
 * unreachable  nothing answers, or the probe itself could not be made
 */
export type WriteFinding = "writable" | "read_only" | "untold" | "unreachable";

export type WriteState =
  | { readonly mode: "writable"; readonly refusals: number }
  /** A write was refused; a probe decides whether that was the database, or one connection or statement. */
  | { readonly mode: "checking"; readonly refusals: number; readonly reason: ReadOnlyReason }
  | {
      readonly mode: "read_only";
      readonly reason: ReadOnlyReason;
      /** Monotonic milliseconds. */
      readonly since: number;
      /** Probes cannot tell when it is over, so a real write is let through now and then. */
      readonly needsTrial: boolean;
    };

export type WriteEvent =
  | { readonly type: "write.refused"; readonly reason: ReadOnlyReason }
  | { readonly type: "write.succeeded" }
  | { readonly type: "probed"; readonly finding: WriteFinding };

export const WRITABLE: WriteState = Object.freeze({ mode: "writable", refusals: 0 });

/** Where no probe can tell, this many refusals in a row are proof enough: one may be a statement's own trouble. */
const PROOF_WITHOUT_PROBE = 3;

/** @example nextWriteState(WRITABLE, { type: "write.refused", reason: "disk_full" }, now).mode // "checking" */
export function nextWriteState(state: WriteState, event: WriteEvent, now: number): WriteState {
  switch (event.type) {
    case "write.succeeded":
      return WRITABLE;
    case "write.refused":
      if (state.mode === "read_only") return state;
      return { mode: "checking", refusals: state.refusals + 1, reason: event.reason };
    case "probed":
      return probed(state, event.finding, now);
  }
}

function probed(state: WriteState, finding: WriteFinding, now: number): WriteState {
  if (finding === "writable") return WRITABLE;
  switch (state.mode) {
    case "writable":
      return state;
    case "checking": {
      const isProven = finding === "read_only" || (finding === "untold" && state.refusals >= PROOF_WITHOUT_PROBE);
      if (!isProven) return { mode: "writable", refusals: state.refusals };
      return { mode: "read_only", reason: state.reason, since: now, needsTrial: finding === "untold" };
    }
    case "read_only":
      return finding === "unreachable" ? state : { ...state, needsTrial: finding === "untold" };
  }
}
