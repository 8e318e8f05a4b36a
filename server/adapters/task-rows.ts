/** What each write makes of a task's row: the same for every store. */
import type { tasks } from "../../drizzle/self-healing-schema.js";
import { ParamedicError } from "../../shared/errors.js";
import type { JsonObject } from "../../shared/failure.js";
import type { TaskRun } from "../../shared/task.js";
import type { TaskBegin, TaskStore } from "../ports/task-store.js";
import type { NewRow } from "./new-row.js";

type Of<Method extends keyof TaskStore> = Parameters<TaskStore[Method]>[0];

export function taskRunOf(row: typeof tasks.$inferSelect): TaskRun {
  const { id: _, createdAt: __, leaseUntil, detail, endedAt, ...run } = row;
  return { ...run, stuckAt: leaseUntil, detail: detail ?? undefined, endedAt: endedAt ?? undefined };
}

export function taskRowOf({ stuckAt, ...run }: TaskRun): NewRow<typeof tasks.$inferInsert> {
  return { ...run, id: undefined, leaseUntil: stuckAt, createdAt: run.startedAt };
}

/** The fields that a later write of the same task moves. */
export const TASK_FIELDS = [
  "name",
  "status",
  "owner",
  "fence",
  "attempts",
  "detail",
  "startedAt",
  "heartbeatAt",
  "leaseUntil",
  "endedAt",
] as const satisfies readonly (keyof typeof tasks.$inferInsert)[];

/** The run as it stands then; not begun while somebody else runs it. */
export function begunTask(stored: TaskRun | undefined, begin: Of<"beginTask">, now: number): TaskBegin {
  checkStuckAfter(begin.stuckAfterMs);
  const { taskId, name, owner, detail, stuckAfterMs } = begin;
  if (stored?.status === "running") {
    if (stored.owner === owner) return { begun: true, run: stored };
    if (stored.stuckAt > now) return { begun: false, run: stored };
  }
  const run: TaskRun = {
    taskId,
    name,
    owner,
    detail,
    status: "running",
    fence: (stored?.fence ?? 0) + 1,
    attempts: (stored?.attempts ?? 0) + 1,
    startedAt: now,
    heartbeatAt: now,
    stuckAt: now + stuckAfterMs,
    endedAt: undefined,
  };
  return { begun: true, run };
}

/** Undefined for who does not hold it any more. */
export function beatenTask(stored: TaskRun | undefined, beat: Of<"beatTask">, now: number): TaskRun | undefined {
  checkStuckAfter(beat.stuckAfterMs);
  if (stored?.status !== "running" || stored.fence !== beat.fence) return undefined;
  return { ...stored, heartbeatAt: now, stuckAt: now + beat.stuckAfterMs };
}

/** Undefined for who does not hold it any more; the row as it is when it ended so before. */
export function endedTask(stored: TaskRun | undefined, end: Of<"endTask">, now: number): TaskRun | undefined {
  if (stored?.fence !== end.fence) return undefined;
  if (stored.status === end.status) return stored;
  if (stored.status !== "running") return undefined;
  return { ...stored, status: end.status, detail: merged(stored.detail, end.detail), endedAt: now };
}

/** Of a running task that was not heard of in its time. */
export function stuckTask(stored: TaskRun, end: Of<"endStuckTasks">, now: number): TaskRun {
  const detail = merged(stored.detail, { reason: end.reason, stuckOwner: stored.owner });
  return { ...stored, status: end.status, fence: stored.fence + 1, detail, endedAt: now };
}

function merged(before: JsonObject | undefined, now: JsonObject | undefined): JsonObject | undefined {
  return before === undefined && now === undefined ? undefined : { ...before, ...now };
}

function checkStuckAfter(stuckAfterMs: number): void {
  if (Number.isInteger(stuckAfterMs) && stuckAfterMs >= 0) return;
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `stuckAfterMs must be a whole number of milliseconds, 0 or more; got ${stuckAfterMs}`,
  );
}
