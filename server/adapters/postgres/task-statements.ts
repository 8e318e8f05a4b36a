/** Writes the tasks under watch, by the database's clock, in the transaction of `db`. */
import { and, asc, eq, lte } from "drizzle-orm";
import { tasks } from "../../../drizzle/postgres/self-healing-schema.js";
import type { TaskRun } from "../../../shared/task.js";
import type { TaskBegin, TaskStore } from "../../ports/task-store.js";
import { beatenTask, begunTask, endedTask, stuckTask, taskRowOf, taskRunOf } from "../task-rows.js";
import { databaseNow } from "./database-clock.js";
import type { Db } from "./postgres-connection.js";

type Of<Method extends keyof TaskStore> = Parameters<TaskStore[Method]>[0];

export async function beginTask(db: Db, begin: Of<"beginTask">): Promise<TaskBegin> {
  const { run, begun } = begunTask(await find(db, begin.taskId), begin, await databaseNow(db));
  if (begun) await keep(db, run);
  return { begun, run };
}

export async function beatTask(db: Db, beat: Of<"beatTask">): Promise<boolean> {
  return keep(db, beatenTask(await find(db, beat.taskId), beat, await databaseNow(db)));
}

export async function endTask(db: Db, end: Of<"endTask">): Promise<boolean> {
  return keep(db, endedTask(await find(db, end.taskId), end, await databaseNow(db)));
}

export async function endStuckTasks(db: Db, end: Of<"endStuckTasks">): Promise<readonly TaskRun[]> {
  const now = await databaseNow(db);
  const stuck = await db
    .select()
    .from(tasks)
    .where(and(eq(tasks.status, "running"), lte(tasks.leaseUntil, now), eq(tasks.name, end.name)))
    .orderBy(asc(tasks.leaseUntil))
    .limit(end.limit);
  const ended = stuck.map((row) => stuckTask(taskRunOf(row), end, now));
  for (const run of ended) await keep(db, run);
  return ended;
}

async function find(db: Db, taskId: string): Promise<TaskRun | undefined> {
  const [row] = await db.select().from(tasks).where(eq(tasks.taskId, taskId));
  return row && taskRunOf(row);
}

async function keep(db: Db, run: TaskRun | undefined): Promise<boolean> {
  if (run === undefined) return false;
  const { detail = null, endedAt = null, createdAt: _, ...row } = taskRowOf(run);
  const set = { ...row, detail, endedAt };
  await db
    .insert(tasks)
    .values({ ...set, createdAt: run.startedAt })
    .onConflictDoUpdate({ target: tasks.taskId, set });
  return true;
}
