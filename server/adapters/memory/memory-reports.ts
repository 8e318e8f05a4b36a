/** Sums over the rows of a store in maps. */
import type { FailureEvent } from "../../../shared/failure.js";
import type { RecoveryAction } from "../../../shared/recovery.js";
import { isOpenAction } from "../../../shared/repair-lease.js";
import type { ActionCount } from "../../../shared/reports.js";
import type { TaskRun } from "../../../shared/task.js";
import type { ReportRange, ReportStore } from "../../ports/report-store.js";
import type { AuditEntry } from "../../ports/store.js";
import { checkLimit } from "../page-cursor.js";
import { taskEndsOf } from "../report-rows.js";

export interface MemoryRows {
  readonly actions: () => readonly RecoveryAction[];
  readonly failures: () => readonly FailureEvent[];
  readonly audit: () => readonly AuditEntry[];
  readonly tasks: () => readonly TaskRun[];
}

export function createMemoryReports(rows: MemoryRows): ReportStore {
  return {
    async countActions(range) {
      const counts = new Map<string, ActionCount>();
      for (const row of rows.actions()) {
        if (!isIn(row.timestamp, range)) continue;
        const { actionStrategy, scope, status, dryRun } = row;
        const byGuard = row.triggeredBy === "guard";
        const key = [actionStrategy, scope, status, dryRun, byGuard].join("\0");
        const before = counts.get(key);
        counts.set(key, {
          actionStrategy,
          scope,
          status,
          dryRun,
          byGuard,
          rows: (before?.rows ?? 0) + 1,
          occurrences: (before?.occurrences ?? 0) + row.occurrences,
        });
      }
      return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, count]) => count);
    },
    async sumFailures(range) {
      const begun = rows.failures().filter(({ timestamp }) => isIn(timestamp, range));
      const repairs = begun.flatMap(({ timestamp, resolvedAt }) =>
        resolvedAt === undefined ? [] : [resolvedAt - timestamp],
      );
      return {
        events: begun.length,
        occurrences: sum(begun.map(({ occurrences }) => occurrences)),
        resolved: repairs.length,
        meanRepairMs: repairs.length === 0 ? 0 : Math.round(sum(repairs) / repairs.length),
      };
    },
    async countTaskEnds(range) {
      const ended = rows.tasks().filter(({ endedAt }) => endedAt !== undefined && isIn(endedAt, range));
      return taskEndsOf(
        ended.map(({ status }) => ({ status, count: ended.filter((run) => run.status === status).length })),
      );
    },
    async countAudited({ action, ...range }) {
      const found = rows
        .audit()
        .filter((entry) => entry.action === action && entry.outcome === "succeeded" && isIn(entry.at, range));
      return new Set(found.map(({ subject }) => subject)).size;
    },
    async listRepairEnds({ from, limit }) {
      return rows
        .actions()
        .filter(
          (row) => row.timestamp >= from && row.leaseUntil !== undefined && !row.dryRun && !isOpenAction(row.status),
        )
        .toReversed()
        .sort((a, b) => b.timestamp - a.timestamp)
        .slice(0, checkLimit(limit))
        .map(({ actionId, actionStrategy, target, status, completedAt, lastAt }) => ({
          actionId,
          actionStrategy,
          target,
          status,
          completedAt: completedAt ?? lastAt,
        }));
    },
  };
}

function isIn(at: number, { from, to }: ReportRange): boolean {
  return at >= from && at < to;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
