/** Probing, as a function of values: who may be a probe, what a probe's result means, and when probing is over. Pure. */
import type { CircuitConfig } from "../../shared/circuit-config.js";
import type { Verdict } from "../../shared/classification.js";
import type { HalfOpenStatus, OpenStatus, Probe, ProbeGrant } from "./circuit-status.js";

/** Half open, without any probe yet. */
export function beginProbing(status: OpenStatus, grant: ProbeGrant | undefined, now: number): HalfOpenStatus {
  const { version, hold, failureCount, opened, openings } = status;
  return {
    state: "half_open",
    version: version + 1,
    hold,
    failureCount,
    opened,
    openings,
    since: now,
    successCount: 0,
    failedProbes: 0,
    probes: [],
    admitted: 0,
    grant,
  };
}

/**
 * A place for one more probe is a status that has it in flight, as its last one; `expired` says that no probe may be waited
 * for any longer.
 *
 * @param leased a grant that is over leaves no place until the next one
 */
export function admitProbe(
  status: HalfOpenStatus,
  leased: boolean,
  now: number,
  config: CircuitConfig,
): HalfOpenStatus | "full" | "expired" {
  const inFlight = status.probes.filter((probe) => now < probe.leaseUntil);
  const isHung = inFlight.length < status.probes.length && status.successCount === 0;
  const isOver = isGrantOver(status, now);
  if (isHung || (isOver && inFlight.length > 0)) return "expired";
  const permits = isOver || status.grant === undefined ? config.halfOpenPermits : status.grant.permits;
  if ((isOver && leased) || inFlight.length >= permits) return "full";
  const probe: Probe = { id: status.admitted + 1, leaseUntil: now + config.probeLeaseMs };
  return { ...status, probes: [...inFlight, probe], admitted: probe.id };
}

/** The status once the probe has ended; undefined when it is no probe, or lost its permit before. */
export function endProbe(status: HalfOpenStatus, id: number, verdict: Verdict): HalfOpenStatus | undefined {
  const probes = status.probes.filter((probe) => probe.id !== id);
  if (probes.length === status.probes.length) return undefined;
  switch (verdict) {
    case "ignored":
      return { ...status, probes };
    case "success":
      return { ...status, probes, successCount: status.successCount + 1 };
    case "failure":
      return { ...status, probes, failedProbes: status.failedProbes + 1 };
  }
}

/** What the probes have shown; undefined while that is open. */
export function judge(
  { successCount, failedProbes }: HalfOpenStatus,
  config: CircuitConfig,
): "good" | "bad" | undefined {
  const { successRatio, successThreshold, halfOpenCalls } = config;
  if (successRatio !== undefined) {
    const heard = successCount + failedProbes;
    if (heard < halfOpenCalls) return undefined;
    return successCount / heard >= successRatio ? "good" : "bad";
  }
  if (successCount >= successThreshold) return "good";
  return failedProbes > halfOpenCalls - successThreshold ? "bad" : undefined;
}

/** `halfOpenMaxMs` are over. */
export function isOverdue({ since }: HalfOpenStatus, now: number, { halfOpenMaxMs }: CircuitConfig): boolean {
  return now - since >= (halfOpenMaxMs ?? Number.POSITIVE_INFINITY);
}

export function isGrantOver({ grant }: HalfOpenStatus, now: number): boolean {
  return grant !== undefined && now >= grant.until;
}

/** How long until a permit comes back at the latest; 0 when no probe is waited for. */
export function permitWaitMs({ probes }: HalfOpenStatus, now: number): number {
  // A later grant may allow fewer probes than are in flight: that one of them is over makes no room yet.
  const ends = probes.flatMap(({ leaseUntil }) => (now < leaseUntil ? [leaseUntil] : []));
  return ends.length === 0 ? 0 : Math.min(...ends) - now;
}
