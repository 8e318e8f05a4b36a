/** Which procedures are called most, fail most, take longest: their series over one range, added up for each procedure. */
import { quantiles } from "./histogram.js";
import { isServiceFailure, OUTCOMES, type Outcome } from "./outcome.js";
import type { SeriesDescriptor } from "./series.js";
import { SummaryFold, type SummaryPart } from "./summary-fold.js";

/** `latency` is the 95th percentile of the duration. */
export const TOP_ORDERS = ["calls", "errors", "latency"] as const;
export type TopOrder = (typeof TOP_ORDERS)[number];

/** One procedure over a range of time. Durations are of all calls that were seen to begin, failed ones too. */
export interface ProcedureTotals {
  /** Its tRPC path; `_OTHER` for calls to procedures that do not exist. */
  readonly procedure: string;
  readonly calls: number;
  /** Calls that ended as `server_error` or `timeout`. */
  readonly errors: number;
  /** All calls, by how they ended. */
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly meanMs: number | undefined;
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly maxMs: number | undefined;
}

export interface ProcedureFold {
  /** Series that are not of procedures are left out. */
  add(series: ProcedureSeries, part: SummaryPart): void;
  /** Those that come first; ties by name. The fold is spent then. */
  top(by: TopOrder, limit: number): readonly ProcedureTotals[];
}

export type ProcedureSeries = Pick<SeriesDescriptor, "metricName" | "tags">;

/** What metrics of procedures begin with: `trpc.<path>.duration`. */
export const PROCEDURE_PREFIX = "trpc.";

/** The metric that measures a procedure's calls, in milliseconds. */
export function durationMetricOf(procedure: string): string {
  return `${PROCEDURE_PREFIX}${procedure}.duration`;
}

const MEASURED = ["duration", "success_count", "failure_count"] as const;

/** What a metric measures of which procedure; undefined when it is none of what is told here. */
export function measuredOf(
  metricName: string,
): { readonly procedure: string; readonly measured: (typeof MEASURED)[number] } | undefined {
  const end = metricName.lastIndexOf(".");
  const measured = MEASURED.find((name) => name === metricName.slice(end + 1));
  if (measured === undefined || !metricName.startsWith(PROCEDURE_PREFIX) || end <= PROCEDURE_PREFIX.length) return;
  return { procedure: metricName.slice(PROCEDURE_PREFIX.length, end), measured };
}

interface Folding {
  readonly outcomes: Record<Outcome, number>;
  readonly durations: SummaryFold;
}

/**
 * @example
 * const fold = createProcedureFold();
 * fold.add({ metricName: "trpc.ask.failure_count", tags: { status: "timeout" } }, rollup);
 * fold.top("errors", 10);
 */
export function createProcedureFold(): ProcedureFold {
  const procedures = new Map<string, Folding>();

  const foldingOf = (procedure: string): Folding => {
    const known = procedures.get(procedure);
    if (known) return known;
    const created = { outcomes: noOutcomes(), durations: new SummaryFold() };
    procedures.set(procedure, created);
    return created;
  };

  return {
    add({ metricName, tags }, part) {
      const found = measuredOf(metricName);
      if (found === undefined) return;
      const { outcomes, durations } = foldingOf(found.procedure);
      switch (found.measured) {
        case "duration":
          durations.add(part);
          return;
        case "success_count":
          outcomes.success += part.sum;
          return;
        case "failure_count":
          outcomes[outcomeOf(tags.status)] += part.sum;
      }
    },
    top(by, limit) {
      return [...procedures]
        .map(([procedure, folding]) => totalsOf(procedure, folding))
        .filter((totals) => (rankOf(totals, by) ?? 0) > 0)
        .sort((a, b) => (rankOf(b, by) ?? 0) - (rankOf(a, by) ?? 0) || (a.procedure < b.procedure ? -1 : 1))
        .slice(0, limit);
    },
  };
}

function totalsOf(procedure: string, { outcomes, durations }: Folding): ProcedureTotals {
  const summary = durations.take();
  const { count, sum, max } = summary;
  const [p50Ms, p95Ms, p99Ms] = quantiles(summary.buckets, [0.5, 0.95, 0.99], summary);
  return {
    procedure,
    calls: OUTCOMES.reduce((calls, outcome) => calls + outcomes[outcome], 0),
    errors: OUTCOMES.filter(isServiceFailure).reduce((errors, outcome) => errors + outcomes[outcome], 0),
    outcomes,
    meanMs: count === 0 ? undefined : sum / count,
    p50Ms,
    p95Ms,
    p99Ms,
    maxMs: count === 0 ? undefined : max,
  };
}

function rankOf({ calls, errors, p95Ms }: ProcedureTotals, by: TopOrder): number | undefined {
  switch (by) {
    case "calls":
      return calls;
    case "errors":
      return errors;
    case "latency":
      return p95Ms;
  }
}

function noOutcomes(): Record<Outcome, number> {
  return { success: 0, client_error: 0, server_error: 0, timeout: 0, rejected: 0, aborted: 0 };
}

/** A failure nobody can name is a failure of the service. */
function outcomeOf(status: string | undefined): Outcome {
  return OUTCOMES.find((outcome) => outcome === status) ?? "server_error";
}
