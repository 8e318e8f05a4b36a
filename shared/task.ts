/** The words for tasks that the watchdog looks after. */

/** running → succeeded | failed | reset (it was stuck, and another run may begin) */
export const TASK_STATUSES = ["running", "succeeded", "failed", "reset"] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];
