/** A panic of the circuits as a failure, so that it is a row, moves an alert, and stands in the story of what caused it. */
import type { Failure } from "../shared/failure.js";
import type { PanicReport } from "./circuit/panic-threshold.js";

/** Circuits named in the row; the rest is counted. */
const MOST_NAMES = 20;

export function panicFailure(
  { open, total, allowed, circuits }: PanicReport,
  identity: Pick<Failure, "eventId" | "timestamp">,
): Failure {
  return {
    ...identity,
    failureCategory: "internal_service",
    failureType: "anomaly",
    severity: "critical",
    affectedService: "paramedic:circuits",
    errorMessage: `${open} of ${total} circuits opened by themselves and ${allowed} may refuse calls: the others only measure`,
    context: { open, total, allowed, circuits: circuits.slice(0, MOST_NAMES) },
    detectionMethod: "threshold",
  };
}
