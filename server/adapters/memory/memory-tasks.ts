/** Tasks under watch in a plain map. */
import type { TaskRun } from "../../../shared/task.js";
import type { Clock } from "../../ports/clock.js";
import type { TaskStore } from "../../ports/task-store.js";
import { checkLimit } from "../page-cursor.js";
import { beatenTask, begunTask, endedTask, stuckTask } from "../task-rows.js";
import { type Kept, newestFirst, prune, type Slice } from "./memory-rows.js";

export interface MemoryTasks {
  readonly store: TaskStore;
  all(): readonly TaskRun[];
  prune(slice: Slice): number;
}

export function createMemoryTasks({ clock }: { readonly clock: Clock }, capacity: number): MemoryTasks {
  const tasks = new Map<string, Kept<TaskRun>>();
  let lastId = 0;

  const get = (taskId: string) => tasks.get(taskId)?.row;
  const keep = (run: TaskRun | undefined): boolean => {
    if (run === undefined) return false;
    lastId += 1;
    tasks.set(run.taskId, { id: tasks.get(run.taskId)?.id ?? lastId, row: run });
    if (tasks.size > capacity) {
      const over = [...tasks.values()].find(({ row }) => row.status !== "running");
      if (over !== undefined) tasks.delete(over.row.taskId);
    }
    return true;
  };
  const all = () => [...tasks.values()].map(({ row }) => row);
  const stuck = () =>
    all()
      .filter(({ status, stuckAt }) => status === "running" && stuckAt <= clock.now())
      .sort((a, b) => a.stuckAt - b.stuckAt);

  return {
    all,
    store: {
      async beginTask(begin) {
        const { run, begun } = begunTask(get(begin.taskId), begin, clock.now());
        if (begun) keep(run);
        return { begun, run };
      },
      async beatTask(beat) {
        return keep(beatenTask(get(beat.taskId), beat, clock.now()));
      },
      async endTask(end) {
        return keep(endedTask(get(end.taskId), end, clock.now()));
      },
      async listStuckTasks({ limit }) {
        return stuck().slice(0, checkLimit(limit));
      },
      async endStuckTasks(end) {
        const ended = stuck()
          .filter(({ name }) => name === end.name)
          .slice(0, end.limit)
          .map((run) => stuckTask(run, end, clock.now()));
        for (const run of ended) keep(run);
        return ended;
      },
      async listTasks(query) {
        return newestFirst(
          tasks.values(),
          query,
          (row) => row.startedAt,
          (row) =>
            (query.name === undefined || row.name === query.name) &&
            (query.status === undefined || row.status === query.status),
        );
      },
    },
    prune({ before, limit }) {
      const isOld = ({ row }: Kept<TaskRun>) => row.status !== "running" && (row.endedAt ?? before) < before;
      return prune(tasks, limit, isOld);
    },
  };
}
