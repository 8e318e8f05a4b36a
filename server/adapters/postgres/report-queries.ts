/** Sums over rows. */
import { and, avg, count, countDistinct, desc, eq, gte, isNotNull, lt, notInArray, sql, sum } from "drizzle-orm";
import { failureEvents, operatorAudit, recoveryActions, tasks } from "../../../drizzle/postgres/self-healing-schema.js";
import { OPEN_ACTIONS } from "../../../shared/repair-lease.js";
import type { ActionCount, FailureSums, RepairEnd } from "../../../shared/reports.js";
import type { ReportRange, ReportStore } from "../../ports/report-store.js";
import { checkLimit } from "../page-cursor.js";
import { failureSumsOf, taskEndsOf } from "../report-rows.js";
import type { Db } from "./postgres-connection.js";

type Ends = Awaited<ReturnType<ReportStore["countTaskEnds"]>>;

export interface ReportQueries {
  countActions(range: ReportRange): Promise<readonly ActionCount[]>;
  sumFailures(range: ReportRange): Promise<FailureSums>;
  countTaskEnds(range: ReportRange): Promise<Ends>;
  countAudited(query: Parameters<ReportStore["countAudited"]>[0]): Promise<number>;
  listRepairEnds(query: Parameters<ReportStore["listRepairEnds"]>[0]): Promise<readonly RepairEnd[]>;
}

export function createReportQueries(db: Db): ReportQueries {
  const { actionStrategy, scope, status, dryRun } = recoveryActions;
  const byGuard = sql<boolean>`(${recoveryActions.triggeredBy} = 'guard')`.mapWith(Boolean);
  return {
    countActions: ({ from, to }) =>
      db
        .select({
          actionStrategy,
          scope,
          status,
          dryRun,
          byGuard,
          rows: count(),
          occurrences: sum(recoveryActions.occurrences).mapWith(Number),
        })
        .from(recoveryActions)
        .where(and(gte(recoveryActions.timestamp, from), lt(recoveryActions.timestamp, to)))
        .groupBy(actionStrategy, scope, status, dryRun, byGuard)
        .orderBy(actionStrategy, scope, status, dryRun, byGuard),

    async sumFailures({ from, to }) {
      const [row] = await db
        .select({
          events: count(),
          occurrences: sum(failureEvents.occurrences).mapWith(Number),
          resolved: count(failureEvents.resolvedAt),
          meanRepairMs: avg(sql`${failureEvents.resolvedAt} - ${failureEvents.timestamp}`).mapWith(Number),
        })
        .from(failureEvents)
        .where(and(gte(failureEvents.timestamp, from), lt(failureEvents.timestamp, to)));
      return failureSumsOf(row);
    },

    async countTaskEnds({ from, to }) {
      return taskEndsOf(
        await db
          .select({ status: tasks.status, count: count() })
          .from(tasks)
          .where(and(gte(tasks.endedAt, from), lt(tasks.endedAt, to)))
          .groupBy(tasks.status),
      );
    },

    async countAudited({ action, from, to }) {
      const [row] = await db
        .select({ subjects: countDistinct(operatorAudit.subject) })
        .from(operatorAudit)
        .where(
          and(
            gte(operatorAudit.at, from),
            lt(operatorAudit.at, to),
            eq(operatorAudit.action, action),
            eq(operatorAudit.outcome, "succeeded"),
          ),
        );
      return row?.subjects ?? 0;
    },

    listRepairEnds: ({ from, limit }) =>
      db
        .select({
          actionId: recoveryActions.actionId,
          actionStrategy,
          target: recoveryActions.target,
          status,
          completedAt: sql<number>`coalesce(${recoveryActions.completedAt}, ${recoveryActions.lastAt})`.mapWith(Number),
        })
        .from(recoveryActions)
        .where(
          and(
            gte(recoveryActions.timestamp, from),
            isNotNull(recoveryActions.leaseUntil),
            eq(dryRun, false),
            notInArray(status, [...OPEN_ACTIONS]),
          ),
        )
        .orderBy(desc(recoveryActions.timestamp), desc(recoveryActions.id))
        .limit(checkLimit(limit)),
  };
}
