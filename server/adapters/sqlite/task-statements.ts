/** Writes the tasks under watch, by the database's clock, in whatever transaction is open. */
import { and, asc, eq, lte, sql } from "drizzle-orm";
import { tasks } from "../../../drizzle/self-healing-schema.js";
import type { TaskRun } from "../../../shared/task.js";
import type { TaskBegin, TaskStore } from "../../ports/task-store.js";
import { beatenTask, begunTask, endedTask, stuckTask, TASK_FIELDS, taskRowOf, taskRunOf } from "../task-rows.js";
import { prepareDatabaseClock } from "./database-clock.js";
import { prepareInsert } from "./prepared-row.js";
import type { Db } from "./sqlite-connection.js";

type Of<Method extends keyof TaskStore> = Parameters<TaskStore[Method]>[0];

export interface TaskStatements {
  beginTask(begin: Of<"beginTask">): TaskBegin;
  beatTask(beat: Of<"beatTask">): boolean;
  endTask(end: Of<"endTask">): boolean;
  endStuckTasks(end: Of<"endStuckTasks">): readonly TaskRun[];
}

export function createTaskStatements(db: Db): TaskStatements {
  const databaseNow = prepareDatabaseClock(db);
  const put = prepareInsert(db, tasks, { target: [tasks.taskId], set: TASK_FIELDS });
  const find = db
    .select()
    .from(tasks)
    .where(eq(tasks.taskId, sql.placeholder("taskId")))
    .prepare();
  const stuckOfName = db
    .select()
    .from(tasks)
    .where(
      and(
        sql`status = 'running'`,
        lte(tasks.leaseUntil, sql.placeholder("now")),
        eq(tasks.name, sql.placeholder("name")),
      ),
    )
    .orderBy(asc(tasks.leaseUntil))
    .limit(sql.placeholder("limit"))
    .prepare();

  const get = (taskId: string): TaskRun | undefined => {
    const row = find.get({ taskId });
    return row && taskRunOf(row);
  };
  const keep = (run: TaskRun | undefined): boolean => {
    if (run !== undefined) put(taskRowOf(run));
    return run !== undefined;
  };

  return {
    beginTask(begin) {
      const stored = get(begin.taskId);
      const { run, begun } = begunTask(stored, begin, databaseNow());
      if (begun) keep(run);
      return { begun, run };
    },
    beatTask: (beat) => keep(beatenTask(get(beat.taskId), beat, databaseNow())),
    endTask: (end) => keep(endedTask(get(end.taskId), end, databaseNow())),
    endStuckTasks(end) {
      const now = databaseNow();
      const ended = stuckOfName
        .all({ now, name: end.name, limit: end.limit })
        .map((row) => stuckTask(taskRunOf(row), end, now));
      for (const run of ended) keep(run);
      return ended;
    },
  };
}
