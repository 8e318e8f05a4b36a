/** How bad a failure is: by what failed, by how much the app needs it, and by how many procedures stand on it. Pure. */
import { type Failure, SEVERITIES, type Severity } from "./failure.js";
import type { Criticality } from "./health.js";

export interface Stake {
  /** How much the app needs the service. @default not known: changes nothing */
  readonly criticality?: Criticality | undefined;
  /** Procedures that were seen to use the service. @default not known: changes nothing */
  readonly procedures?: readonly string[] | undefined;
}

/** From so many procedures on a failure is one step worse. */
const WIDE = 5;

/** From so many on it is two. */
const VERY_WIDE = 20;

/** Procedures named in the event; their number is there whole. */
const MOST_NAMED = 20;

/**
 * @example severityAt("medium", { criticality: "critical" }) // "high"
 * @example severityAt("high", { criticality: "optional" }) // "medium"
 */
export function severityAt(severity: Severity, { criticality, procedures = [] }: Stake): Severity {
  const reach = procedures.length >= VERY_WIDE ? 2 : procedures.length >= WIDE ? 1 : 0;
  const step = SEVERITIES.indexOf(severity) + weightOf(criticality) + reach;
  return SEVERITIES[Math.min(Math.max(step, 0), SEVERITIES.length - 1)] ?? severity;
}

function weightOf(criticality: Criticality | undefined): number {
  switch (criticality) {
    case "critical":
      return 1;
    case "optional":
      return -1;
    case "important":
    case undefined:
      return 0;
  }
}

/** The failure as bad as it is at this stake, with the stake in its context. What nobody knows anything about stays as it is. */
export function assess(failure: Failure, stake: Stake): Failure {
  const { criticality, procedures } = stake;
  if (criticality === undefined && procedures === undefined) return failure;
  return {
    ...failure,
    severity: severityAt(failure.severity, stake),
    context: {
      ...failure.context,
      ...(criticality !== undefined && { criticality }),
      ...(procedures !== undefined && {
        blastRadius: procedures.length,
        procedures: procedures.slice(0, MOST_NAMED),
      }),
    },
  };
}
