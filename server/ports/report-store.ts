/** Sums over rows, for who judges how Paramedic itself does. None of these reads holds up the thread that serves calls. */
import type { ActionCount, FailureSums, RepairEnd } from "../../shared/reports.js";
import type { TaskStatus } from "../../shared/task.js";

/** UTC milliseconds, `from` included and `to` excluded. */
export interface ReportRange {
  readonly from: number;
  readonly to: number;
}

export interface ReportStore {
  /** Recovery actions that began in the range, by strategy, scope, status, dry run and whether a guard did it itself. */
  countActions(range: ReportRange): Promise<readonly ActionCount[]>;
  /** Failure events that began in the range. */
  sumFailures(range: ReportRange): Promise<FailureSums>;
  /** How many tasks ended in the range, by how. */
  countTaskEnds(range: ReportRange): Promise<Readonly<Record<Exclude<TaskStatus, "running">, number>>>;
  /** Subjects of one kind of operator's action that succeeded in the range. */
  countAudited(query: ReportRange & { readonly action: string }): Promise<number>;
  /** Repairs that were carried out and ended, the newest first. */
  listRepairEnds(query: { readonly from: number; readonly limit: number }): Promise<readonly RepairEnd[]>;
}
