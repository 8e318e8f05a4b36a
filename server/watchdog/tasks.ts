/**
 * Work under watch: whoever runs a task says that it still runs, and works under a fencing token. A run that was not heard of
 * in its time is ended by the watchdog; its late owner is told so, and what it still says is refused.
 */
import { describeError } from "../../shared/describe-error.js";
import { ParamedicError } from "../../shared/errors.js";
import type { JsonObject } from "../../shared/failure.js";
import { STUCK_AFTER_MS } from "../../shared/task.js";
import { MAX_TIMER_MS } from "../../shared/units.js";
import type { Ids } from "../ports/ids.js";
import type { TaskStore } from "../ports/task-store.js";
import type { TaskSource } from "./stuck-tasks.js";

export interface TaskOptions {
  /** One run at a time for each id, over all instances. @default a new id, so that any number run side by side */
  readonly taskId?: string | undefined;
  /** Without a heartbeat for this long it is stuck; 1 to 2^31-1 ms. @default 3_600_000, an hour */
  readonly stuckAfterMs?: number | undefined;
  /** What becomes of a stuck run: `reset`, so that another may begin, or `failed`. Of the name, for all its runs. @default "reset" */
  readonly whenStuck?: "reset" | "failed" | undefined;
  /** What an operator sees beside it. No inputs of calls. */
  readonly detail?: JsonObject | undefined;
}

/** A run in the hands of who does the work. */
export interface Task {
  readonly taskId: string;
  readonly name: string;
  /** Rises with every run of the id: put it into your own writes' conditions, and a late owner's are refused there too. */
  readonly fence: number;
  /** Aborts once the run is lost. */
  readonly signal: AbortSignal;
  /**
   * Says that it still runs; do it whenever the work got on. While the store is away the work goes on.
   *
   * @throws ParamedicError `TASK_LOST` when the run was ended as stuck, or another one took over: stop, what it writes is late
   */
  heartbeat(): Promise<void>;
}

export interface Tasks {
  /**
   * Runs `work` under watch and gives its result, or throws its error.
   *
   * @throws ParamedicError `TASK_RUNNING` while another run of the same `taskId` is heard of, `TASK_LOST` when it was ended
   *   as stuck before `work` was done, `CONFIGURATION_INVALID` for options out of their range; the store's own while it is away
   * @example
   * await paramedic.tasks.run("import", async (task) => {
   *   for (const file of files) { await importFile(file, task.signal); await task.heartbeat(); }
   * }, { taskId: "import" });
   */
  run<T>(name: string, work: (task: Task) => Promise<T> | T, options?: TaskOptions): Promise<T>;
  /**
   * Watches tasks of your own, wherever they are kept. Returns how to stop.
   *
   * @example
   * paramedic.tasks.watch("mails", {
   *   query: ({ silentSince, limit }) => db.stuckMails(silentSince, limit),  // { id, token, heartbeatAt }
   *   reset: ({ id, token }) => db.releaseMail(id, token),                   // false unless the token is still the row's
   * });
   */
  watch(name: string, source: TaskSource): () => void;
}

export interface TasksDeps {
  readonly ids: Ids;
  readonly store: Pick<TaskStore, "beginTask" | "beatTask" | "endTask">;
  readonly instance: string;
  readonly watch: Tasks["watch"];
  readonly whenStuck: (name: string, whenStuck: "reset" | "failed") => void;
  readonly onFault: (error: unknown) => void;
}

export interface TaskRunner extends Tasks {
  /** Writes the ends that the store did not take. Rejects while it is still away. */
  writeLeftOver(): Promise<void>;
}

/** Ends that wait for a store that is away; more are forgotten, and those runs end as stuck. */
const MOST_LEFT_OVER = 1_000;

export function createTasks({ ids, store, instance, watch, whenStuck, onFault }: TasksDeps): TaskRunner {
  let leftOver: Parameters<TaskStore["endTask"]>[0][] = [];

  const end = async (ending: Parameters<TaskStore["endTask"]>[0]): Promise<boolean> => {
    try {
      return await store.endTask(ending);
    } catch (error) {
      onFault(error);
      if (leftOver.length < MOST_LEFT_OVER) leftOver.push(ending);
      return true;
    }
  };

  return Object.freeze<TaskRunner>({
    async run(name, work, options = {}) {
      const stuckAfterMs = checkOptions(name, options);
      whenStuck(name, options.whenStuck ?? "reset");
      const { taskId = ids(), detail } = options;
      const begin = { taskId, name, owner: `${instance}:${ids()}`, stuckAfterMs, detail };
      const { begun, run } = await store.beginTask(begin);
      if (!begun) {
        throw new ParamedicError(
          "TASK_RUNNING",
          `the task ${taskId} is run by ${run.owner}, last heard of at ${new Date(run.heartbeatAt).toISOString()}; wait for its end`,
        );
      }
      const { fence } = run;
      const lost = new AbortController();
      const loss = () => {
        const error = new ParamedicError(
          "TASK_LOST",
          `the task ${taskId} was ended as stuck after ${stuckAfterMs} ms without a heartbeat, or was taken over: stop, its run ${fence} is over`,
        );
        lost.abort(error);
        return error;
      };
      const task: Task = Object.freeze({
        taskId,
        name,
        fence,
        signal: lost.signal,
        async heartbeat() {
          const isHeld = await store.beatTask({ taskId, fence, stuckAfterMs }).catch((error: unknown) => {
            onFault(error);
            return true;
          });
          if (!isHeld) throw loss();
        },
      });
      let value: Awaited<ReturnType<typeof work>>;
      try {
        value = await work(task);
      } catch (error) {
        // Of this run: the loss of another one that the work waited for is an error like any.
        if (!lost.signal.aborted) {
          await end({ taskId, fence, status: "failed", detail: { error: describeError(error).message } });
        }
        throw error;
      }
      if (!(await end({ taskId, fence, status: "succeeded", detail: undefined }))) throw loss();
      return value;
    },
    watch,
    async writeLeftOver() {
      while (leftOver[0]) {
        await store.endTask(leftOver[0]);
        leftOver = leftOver.slice(1);
      }
    },
  });
}

function checkOptions(name: string, { taskId, stuckAfterMs = STUCK_AFTER_MS }: TaskOptions): number {
  for (const [what, text] of [
    ["name", name],
    ["taskId", taskId ?? name],
  ] as const) {
    if (typeof text === "string" && text.length > 0 && text.length <= 150) continue;
    throw new ParamedicError("CONFIGURATION_INVALID", `a task's ${what} must be a text of 1 to 150 characters`);
  }
  if (Number.isInteger(stuckAfterMs) && stuckAfterMs >= 1 && stuckAfterMs <= MAX_TIMER_MS) return stuckAfterMs;
  throw new ParamedicError(
    "CONFIGURATION_INVALID",
    `task ${name}: stuckAfterMs is ${stuckAfterMs}; legal is [1, ${MAX_TIMER_MS}]`,
  );
}
