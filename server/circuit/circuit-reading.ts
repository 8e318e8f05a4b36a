/** What a status says to those who only ask: how long to wait, what stands in the way, which hold is in force. Pure. */
import type { CircuitCounts, CircuitHold } from "../../shared/circuit.js";
import type { CircuitConfig } from "../../shared/circuit-config.js";
import { type CircuitStatus, withoutExpiredHold } from "./circuit-status.js";
import { asOf, countsIn } from "./circuit-window.js";
import { isGrantOver, permitWaitMs } from "./half-open.js";
import { ratiosOf } from "./trip-rule.js";

/** Whether the next probe waits for nothing but a grant: its time has come, or the last grant ended without a verdict. */
export function wantsProbe(status: CircuitStatus, now: number): boolean {
  switch (status.state) {
    case "closed":
      return false;
    case "open":
      return now >= status.retryAt;
    case "half_open":
      return isGrantOver(status, now);
  }
}

/** Failures that the window holds now; once open, those that opened it. */
export function failuresOf(status: CircuitStatus, now: number, config: CircuitConfig): number {
  return status.state === "closed" ? asOf(status.window, now, config).failures : status.failureCount;
}

const UNTOLD = { slow: 0, slowFailures: 0, failureRatio: undefined, slowCallRatio: undefined } as const;

/** What the circuit has judged by, or judges by now. */
export function countsOf(status: CircuitStatus, now: number, config: CircuitConfig): CircuitCounts {
  switch (status.state) {
    case "closed": {
      const counts = countsIn(status.window, now, config);
      return { ...counts, ...ratiosOf(counts, config) };
    }
    case "open": {
      const { opened, failureCount } = status;
      return opened === undefined
        ? { calls: failureCount, failures: failureCount, ...UNTOLD }
        : { ...opened, ...ratiosOf(opened, config) };
    }
    case "half_open": {
      const { successCount, failedProbes } = status;
      return { calls: successCount + failedProbes, failures: failedProbes, ...UNTOLD };
    }
  }
}

/** The hold in force; undefined without one and after its expiry. */
export function holdOf(status: CircuitStatus, now: number): CircuitHold | undefined {
  return withoutExpiredHold(status, now).hold?.hold;
}

/** What stands in a refused caller's way. */
export type RefusalReason = "forced_open" | "open" | "half_open" | "ramp";

export function refusalReason(state: CircuitStatus, now: number): RefusalReason {
  const status = withoutExpiredHold(state, now);
  if (status.hold?.hold.state === "forced_open") return "forced_open";
  return status.state === "closed" ? "ramp" : status.state;
}

/**
 * How long a refused caller should wait: until probes are admitted, at the latest until a permit comes back, until traffic
 * has grown to all, or until the hold expires. Undefined while a hold without expiry refuses calls; 0 when a call may be
 * admitted now.
 */
export function retryAfterMs(state: CircuitStatus, now: number): number | undefined {
  const status = withoutExpiredHold(state, now);
  if (status.hold?.hold.state === "forced_open") {
    return status.hold.expiresAt === Number.POSITIVE_INFINITY ? undefined : Math.ceil(status.hold.expiresAt - now);
  }
  switch (status.state) {
    case "closed":
      return Math.max(0, Math.ceil((status.rampUntil ?? now) - now));
    case "open":
      return Math.max(0, Math.ceil(status.retryAt - now));
    case "half_open":
      return Math.max(0, Math.ceil(permitWaitMs(status, now)));
  }
}
