/**
 * Finds tasks that nobody has heard of, in every source, and makes a failure of each name that has some. The strategy that
 * answers it resets them under their tokens: as a repair it has a lease, a row, a proof, and obeys mode, safety mode and stop.
 */
import { ParamedicError } from "../../shared/errors.js";
import type { Failure } from "../../shared/failure.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";
import { STUCK_AFTER_MS } from "../../shared/task.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { TaskStore } from "../ports/task-store.js";

/** A task of a source that was not heard of. */
export interface StuckTask {
  readonly id: string;
  /** What a later owner would have raised: a reset is only of the run that was seen. */
  readonly token: string | number;
  /** When it was last heard of, UTC milliseconds. */
  readonly heartbeatAt: number;
}

/** Where tasks are kept that are not Paramedic's. */
export interface TaskSource {
  /** Without a heartbeat for this long a task is stuck. @default 3_600_000, an hour */
  readonly stuckAfterMs?: number | undefined;
  /** Running tasks last heard of before `silentSince`, at most `limit`. */
  query(search: { readonly silentSince: number; readonly limit: number }): Promise<readonly StuckTask[]>;
  /**
   * Resets a task, or fails it with the reason, if its token still is the one that was seen, and raises the token so that the
   * late owner's writes are refused. `false` when it is not.
   */
  reset(task: StuckTask, reason: string): Promise<boolean>;
}

export interface StuckTasksDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly store: Pick<TaskStore, "listStuckTasks" | "endStuckTasks">;
  /** Told of a source's own faults. Must not throw. */
  readonly onFault: (error: unknown) => void;
}

export interface StuckTasks {
  watch(name: string, source: TaskSource): () => void;
  whenStuck(name: string, whenStuck: "reset" | "failed"): void;
  /** One failure for each name with stuck tasks. Rejects while the store is away. */
  find(): Promise<readonly Failure[]>;
  readonly strategy: RecoveryStrategy;
}

export const STUCK_TASK_STRATEGY = "stuck_task_reset";
const SERVICE_PREFIX = "task:";

/** Of one name in one look; the next look finds the rest. */
const MOST_AT_ONCE = 1_000;
/** Ids that an event names. */
const IDS_SHOWN = 10;

export function createStuckTasks({ clock, ids, store, onFault }: StuckTasksDeps): StuckTasks {
  const sources = new Map<string, TaskSource>();
  const endings = new Map<string, "reset" | "failed">();

  /** Also what the source gave, its own condition forgotten: a task that was heard of is nobody's to reset. */
  const askSource = async ({ stuckAfterMs = STUCK_AFTER_MS, ...source }: TaskSource): Promise<readonly StuckTask[]> => {
    const silentSince = clock.now() - stuckAfterMs;
    const found = await source.query({ silentSince, limit: MOST_AT_ONCE });
    return found.filter(({ heartbeatAt }) => heartbeatAt <= silentSince).slice(0, MOST_AT_ONCE);
  };

  const failureOf = (name: string, stuck: readonly Pick<StuckTask, "id" | "heartbeatAt">[]): Failure => {
    const oldestHeartbeatAt = Math.min(...stuck.map(({ heartbeatAt }) => heartbeatAt));
    return {
      eventId: ids(),
      timestamp: clock.now(),
      failureCategory: "internal_service",
      failureType: "stuck_task",
      severity: "high",
      affectedService: `${SERVICE_PREFIX}${name}`,
      errorMessage: `${stuck.length} task(s) ${name} have no heartbeat since ${new Date(oldestHeartbeatAt).toISOString()}`,
      context: { count: stuck.length, oldestHeartbeatAt, ids: stuck.slice(0, IDS_SHOWN).map(({ id }) => id) },
      detectionMethod: "watchdog",
    };
  };

  const reasonOf = (failure: Failure) => failure.errorMessage ?? "no heartbeat";

  const resetOf = async (name: string, failure: Failure): Promise<{ ended: number; renewed: number }> => {
    const source = sources.get(name);
    if (source === undefined) {
      const status = endings.get(name) ?? "reset";
      const ended = await store.endStuckTasks({ name, status, reason: reasonOf(failure), limit: MOST_AT_ONCE });
      return { ended: ended.length, renewed: 0 };
    }
    let ended = 0;
    let renewed = 0;
    for (const task of await askSource(source)) {
      if (await source.reset(task, reasonOf(failure))) ended += 1;
      else renewed += 1;
    }
    return { ended, renewed };
  };

  const isQuiet = async (name: string): Promise<boolean> => {
    const source = sources.get(name);
    const stuck = source === undefined ? await ownStuck(name) : await askSource(source);
    return stuck.length === 0;
  };

  const ownStuck = async (name: string) =>
    (await store.listStuckTasks({ limit: MOST_AT_ONCE })).filter((run) => run.name === name);

  const nameOf = ({ affectedService }: Failure) => affectedService.slice(SERVICE_PREFIX.length);

  return Object.freeze<StuckTasks>({
    watch(name, source) {
      if (typeof name !== "string" || name === "" || name.length > 150) {
        throw new ParamedicError("CONFIGURATION_INVALID", "a task source needs a name of 1 to 150 characters");
      }
      if (typeof source.query !== "function" || typeof source.reset !== "function") {
        throw new ParamedicError("CONFIGURATION_INVALID", `task source "${name}" needs the functions query and reset`);
      }
      sources.set(name, source);
      return () => {
        if (sources.get(name) === source) sources.delete(name);
      };
    },
    whenStuck: (name, whenStuck) => void endings.set(name, whenStuck),
    async find() {
      const runs = await store.listStuckTasks({ limit: MOST_AT_ONCE });
      const names = [...new Set(runs.map(({ name }) => name))].filter((name) => !sources.has(name));
      const failures = names.map((name) => {
        const own = runs.filter((run) => run.name === name);
        return failureOf(
          name,
          own.map(({ taskId, heartbeatAt }) => ({ id: taskId, heartbeatAt })),
        );
      });
      for (const [name, source] of sources) {
        try {
          const stuck = await askSource(source);
          if (stuck.length > 0) failures.push(failureOf(name, stuck));
        } catch (error) {
          onFault(error);
        }
      }
      return failures;
    },
    strategy: {
      name: STUCK_TASK_STRATEGY,
      scope: "service",
      priority: 1,
      actionType: "reset",
      applicableFailureTypes: ["stuck_task"],
      appliesTo: ({ affectedService }) => affectedService.startsWith(SERVICE_PREFIX),
      async execute(failure) {
        const startedAt = clock.monotonic();
        const { ended, renewed } = await resetOf(nameOf(failure), failure);
        return {
          success: true,
          actionType: "reset",
          actionStrategy: STUCK_TASK_STRATEGY,
          durationMs: Math.round(clock.monotonic() - startedAt),
          message: `${ended} stuck task(s) ended, ${renewed} left to owners who were heard of`,
          metadata: { ended, renewed },
        };
      },
      verify: (failure) => isQuiet(nameOf(failure)),
    },
  });
}
