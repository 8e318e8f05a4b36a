/** The words for tasks that the watchdog looks after. */
import type { JsonObject } from "./failure.js";
import { HOUR_MS } from "./units.js";

/** running → succeeded | failed | reset (it was stuck, and another run may begin) */
export const TASK_STATUSES = ["running", "succeeded", "failed", "reset"] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];

/** Without a heartbeat for this long a task is stuck, unless it says otherwise. */
export const STUCK_AFTER_MS = HOUR_MS;

/** The latest run of a task. Times are UTC milliseconds by the database's clock. */
export interface TaskRun {
  readonly taskId: string;
  readonly name: string;
  readonly status: TaskStatus;
  readonly owner: string;
  /** Rises with every run and every reset: a write under an older one is refused. */
  readonly fence: number;
  /** Runs so far, this one included. */
  readonly attempts: number;
  readonly detail: JsonObject | undefined;
  readonly startedAt: number;
  readonly heartbeatAt: number;
  /** Not heard of until then, it is stuck. */
  readonly stuckAt: number;
  readonly endedAt: number | undefined;
}
