/** Reads back what users saw, from `user_calls` and `story_phases`. */
import { and, asc, count, eq, sql } from "drizzle-orm";
import { PROCEDURES, type Procedure } from "./schedule.js";
import { type Run, storyPhases, type UserCalls, userCalls } from "./user-calls.js";

export interface Percentiles {
  readonly p50: number | undefined;
  readonly p95: number | undefined;
  readonly p99: number | undefined;
}

export interface PhaseSeen {
  readonly phase: number;
  readonly name: string;
  /** UTC milliseconds. */
  readonly startedAt: number;
  readonly calls: number;
  readonly failed: number;
}

export interface UserSide {
  readonly phases: readonly PhaseSeen[];
  readonly calls: number;
  readonly failed: number;
  readonly refused: number;
  readonly procedures: readonly (Percentiles & { readonly procedure: Procedure; readonly calls: number })[];
  /** Of `ask`. */
  readonly answeredBy: ReadonlyMap<string, number>;
  readonly errorCodes: ReadonlyMap<string, number>;
}

const FAILED = sql<number>`sum(${userCalls.outcome} = 'failed')`;
const REFUSED = sql<number>`sum(${userCalls.outcome} = 'refused')`;

export function readUserSide(rows: UserCalls, run: Run): UserSide {
  const ofRun = eq(userCalls.run, run);
  const phases = rows
    .select({
      phase: storyPhases.phase,
      name: storyPhases.name,
      startedAt: storyPhases.startedAt,
      calls: count(userCalls.id),
      failed: sql<number>`coalesce(${FAILED}, 0)`,
    })
    .from(storyPhases)
    .leftJoin(userCalls, and(eq(userCalls.phase, storyPhases.phase), eq(userCalls.run, storyPhases.run)))
    .where(eq(storyPhases.run, run))
    .groupBy(storyPhases.id)
    .orderBy(asc(storyPhases.phase))
    .all();
  const totals = rows
    .select({
      calls: count(),
      failed: sql<number>`coalesce(${FAILED}, 0)`,
      refused: sql<number>`coalesce(${REFUSED}, 0)`,
    })
    .from(userCalls)
    .where(ofRun)
    .get();
  const countsOf = (column: typeof userCalls.answeredBy | typeof userCalls.errorCode) =>
    new Map(
      rows
        .select({ key: column, calls: count() })
        .from(userCalls)
        .where(ofRun)
        .groupBy(column)
        .orderBy(asc(column))
        .all()
        .flatMap(({ key, calls }) => (key === null ? [] : [[key, calls] as const])),
    );
  return {
    phases,
    calls: totals?.calls ?? 0,
    failed: totals?.failed ?? 0,
    refused: totals?.refused ?? 0,
    procedures: PROCEDURES.map((procedure) => {
      const durations = rows
        .select({ durationMs: userCalls.durationMs })
        .from(userCalls)
        .where(and(ofRun, eq(userCalls.procedure, procedure)))
        .orderBy(asc(userCalls.durationMs))
        .all()
        .map(({ durationMs }) => durationMs);
      return { procedure, calls: durations.length, ...percentilesOf(durations) };
    }),
    answeredBy: countsOf(userCalls.answeredBy),
    errorCodes: countsOf(userCalls.errorCode),
  };
}

/** By nearest rank. */
function percentilesOf(sorted: readonly number[]): Percentiles {
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1];
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}
