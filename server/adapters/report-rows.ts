/** What a database's sums mean where there was nothing to add up. */
import type { FailureSums } from "../../shared/reports.js";
import type { TaskStatus } from "../../shared/task.js";
import type { ReportStore } from "../ports/report-store.js";

export function failureSumsOf(row: { readonly [Field in keyof FailureSums]: number | null } | undefined): FailureSums {
  return {
    events: row?.events ?? 0,
    occurrences: row?.occurrences ?? 0,
    resolved: row?.resolved ?? 0,
    meanRepairMs: Math.round(row?.meanRepairMs ?? 0),
  };
}

export function taskEndsOf(
  rows: readonly { readonly status: TaskStatus; readonly count: number }[],
): Awaited<ReturnType<ReportStore["countTaskEnds"]>> {
  const of = (status: TaskStatus) => rows.find((row) => row.status === status)?.count ?? 0;
  return { succeeded: of("succeeded"), failed: of("failed"), reset: of("reset") };
}
