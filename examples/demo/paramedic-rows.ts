/** Reads what Paramedic wrote down, from its own tables, on a connection that can only read. */
import Database from "better-sqlite3";
import { and, asc, count, desc, eq, inArray, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import {
  circuitTransitions,
  failureEvents,
  ingestBoots,
  recoveryActions,
  systemHealthMetrics,
} from "../../drizzle/self-healing-schema.js";
import { decodeBuckets } from "../../shared/buckets-codec.js";
import { mergeBuckets, quantile, type SparseBuckets } from "../../shared/histogram.js";
import { PROCEDURES } from "./schedule.js";
import type { Percentiles } from "./user-rows.js";

export interface ParamedicSide {
  /** From `trpc.<path>.duration`, whatever the outcome. */
  readonly procedures: readonly (Percentiles & { readonly path: string; readonly calls: number })[];
  readonly failures: readonly {
    readonly service: string;
    readonly failureType: string;
    readonly severity: string;
    readonly events: number;
    readonly occurrences: number;
  }[];
  /** What was done inside calls, by what it answered. */
  readonly rescues: readonly {
    readonly failureType: string;
    readonly strategy: string;
    readonly target: string;
    readonly status: string;
    readonly times: number;
  }[];
  readonly actions: readonly {
    readonly strategy: string;
    readonly scope: string;
    readonly status: string;
    readonly rows: number;
    readonly times: number;
  }[];
  readonly transitions: readonly {
    readonly at: number;
    readonly circuit: string;
    readonly from: string;
    readonly to: string;
    readonly reason: string;
  }[];
  readonly accounting: {
    readonly recorded: number;
    readonly rolledUp: number;
    readonly dropped: number;
    /** Recorded and neither rolled up nor dropped: lost, because the clinic has closed and nothing is in flight. */
    readonly missing: number;
    readonly batches: number;
  };
  /** Fallbacks that answered. */
  readonly fallbacks: number;
  /** Recovery actions that are neither done nor given up. */
  readonly unfinished: number;
}

type Db = ReturnType<typeof open>;

function open(path: string) {
  return drizzle(new Database(path, { readonly: true }));
}

/** One snapshot: what is written meanwhile changes none of its numbers. */
export function readParamedicSide(path: string): ParamedicSide {
  const db = open(path);
  try {
    return db.transaction(() => ({
      procedures: readProcedures(db),
      failures: readFailures(db),
      rescues: readRescues(db),
      actions: readActions(db),
      transitions: readTransitions(db),
      accounting: readAccounting(db),
      fallbacks: timesOf(db, and(eq(recoveryActions.actionType, "fallback"), eq(recoveryActions.status, "succeeded"))),
      unfinished: timesOf(db, inArray(recoveryActions.status, ["initiated", "in_progress"])),
    }));
  } finally {
    db.$client.close();
  }
}

/** Rollups also stand at coarser resolutions once they are old: reading one of them counts each point once. */
const FINEST_RESOLUTION_MS = 10_000;

function readProcedures(db: Db): ParamedicSide["procedures"] {
  return PROCEDURES.map((path) => {
    const rollups = db
      .select()
      .from(systemHealthMetrics)
      .where(
        and(
          eq(systemHealthMetrics.metricName, `trpc.${path}.duration`),
          eq(systemHealthMetrics.resolutionMs, FINEST_RESOLUTION_MS),
        ),
      )
      .all();
    const buckets = rollups.reduce<SparseBuckets>((sum, row) => mergeBuckets(sum, decodeBuckets(row.buckets)), []);
    const range = { min: Math.min(...rollups.map((row) => row.min)), max: Math.max(...rollups.map((row) => row.max)) };
    const at = (share: number) => quantile(buckets, share, range);
    return {
      path,
      calls: rollups.reduce((sum, row) => sum + row.count, 0),
      p50: at(0.5),
      p95: at(0.95),
      p99: at(0.99),
    };
  });
}

const RECOVERED = sql<number>`sum(${recoveryActions.occurrences})`;

function readFailures(db: Db): ParamedicSide["failures"] {
  const occurrences = sql<number>`sum(${failureEvents.occurrences})`;
  return db
    .select({
      service: failureEvents.affectedService,
      failureType: failureEvents.failureType,
      severity: failureEvents.severity,
      events: count(),
      occurrences,
    })
    .from(failureEvents)
    .groupBy(failureEvents.affectedService, failureEvents.failureType, failureEvents.severity)
    .orderBy(desc(occurrences))
    .all();
}

function readRescues(db: Db): ParamedicSide["rescues"] {
  return db
    .select({
      failureType: failureEvents.failureType,
      strategy: recoveryActions.actionStrategy,
      target: recoveryActions.target,
      status: recoveryActions.status,
      times: RECOVERED,
    })
    .from(recoveryActions)
    .innerJoin(failureEvents, eq(failureEvents.eventId, recoveryActions.failureEventId))
    .where(eq(recoveryActions.scope, "call"))
    .groupBy(failureEvents.failureType, recoveryActions.actionStrategy, recoveryActions.target, recoveryActions.status)
    .orderBy(desc(RECOVERED))
    .all();
}

function readActions(db: Db): ParamedicSide["actions"] {
  return db
    .select({
      strategy: recoveryActions.actionStrategy,
      scope: recoveryActions.scope,
      status: recoveryActions.status,
      rows: count(),
      times: RECOVERED,
    })
    .from(recoveryActions)
    .groupBy(recoveryActions.actionStrategy, recoveryActions.scope, recoveryActions.status)
    .orderBy(asc(recoveryActions.actionStrategy), asc(recoveryActions.status))
    .all();
}

function readTransitions(db: Db): ParamedicSide["transitions"] {
  return db
    .select({
      at: circuitTransitions.at,
      circuit: circuitTransitions.circuitName,
      from: circuitTransitions.from,
      to: circuitTransitions.to,
      reason: circuitTransitions.reason,
    })
    .from(circuitTransitions)
    .orderBy(asc(circuitTransitions.at), asc(circuitTransitions.id))
    .all();
}

function readAccounting(db: Db): ParamedicSide["accounting"] {
  const totals = { recorded: 0, rolledUp: 0, dropped: 0, batches: 0 };
  for (const boot of db.select().from(ingestBoots).all()) {
    totals.recorded += boot.recorded;
    totals.rolledUp += boot.points;
    totals.dropped += Object.values(boot.dropped).reduce((sum, points) => sum + points, 0);
    totals.batches += boot.batches;
  }
  return { ...totals, missing: totals.recorded - totals.rolledUp - totals.dropped };
}

function timesOf(db: Db, condition: SQL | undefined): number {
  return db.select({ times: RECOVERED }).from(recoveryActions).where(condition).get()?.times ?? 0;
}
