/**
 * Tasks under watch. Every time is by the database's clock. A task is held under a fencing token that rises with every run
 * and every reset: whoever holds an older one is refused.
 */
import type { JsonObject } from "../../shared/failure.js";
import type { TaskRun, TaskStatus } from "../../shared/task.js";
import type { Page } from "./page.js";

export type TaskBegin =
  | { readonly begun: true; readonly run: TaskRun }
  /** Somebody else runs it and was heard of in time. */
  | { readonly begun: false; readonly run: TaskRun };

export interface TaskStore {
  /**
   * Begins a run of a task, under a new token. Not while another owner runs it and was heard of within its time; a begin that
   * is delivered again by the same owner is one begin.
   */
  beginTask(begin: {
    readonly taskId: string;
    readonly name: string;
    /** One for each run. */
    readonly owner: string;
    /** Without a heartbeat for this long it counts as stuck. */
    readonly stuckAfterMs: number;
    readonly detail: JsonObject | undefined;
  }): Promise<TaskBegin>;
  /** Says that it still runs. `false` when the token is not the present one or the run has ended: it must stop. */
  beatTask(beat: { readonly taskId: string; readonly fence: number; readonly stuckAfterMs: number }): Promise<boolean>;
  /** `false` when the token is not the present one or it ended otherwise: what the late owner says is refused. */
  endTask(end: {
    readonly taskId: string;
    readonly fence: number;
    readonly status: Extract<TaskStatus, "succeeded" | "failed">;
    readonly detail: JsonObject | undefined;
  }): Promise<boolean>;
  /** Running tasks that were not heard of in their time, the longest silent first. */
  listStuckTasks(query: { readonly limit: number }): Promise<readonly TaskRun[]>;
  /**
   * Ends stuck runs of tasks of one name, `reset` so that another run may begin or `failed`, with the reason in their detail
   * and a new token. Never one that was heard of meanwhile. Gives those that it ended.
   */
  endStuckTasks(end: {
    readonly name: string;
    readonly status: Extract<TaskStatus, "reset" | "failed">;
    readonly reason: string;
    readonly limit: number;
  }): Promise<readonly TaskRun[]>;
  /** By their begin, newest first. */
  listTasks(query: {
    readonly name?: string | undefined;
    readonly status?: TaskStatus | undefined;
    readonly cursor?: string | undefined;
    readonly limit: number;
  }): Promise<Page<TaskRun>>;
}
