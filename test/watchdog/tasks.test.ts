import { describe, expect, it } from "vitest";
import type { StuckTask } from "../../server/watchdog/stuck-tasks.js";
import type { Task } from "../../server/watchdog/tasks.js";
import { ParamedicError } from "../../shared/errors.js";
import { HOUR_MS, MINUTE_MS } from "../../shared/units.js";
import { createWatchdogHarness } from "./watchdog-harness.js";

/** A task whose end the test decides. */
function pending() {
  let finish = (_: string) => {};
  const ended = new Promise<string>((resolve) => {
    finish = resolve;
  });
  return { ended, finish: (value: string) => finish(value) };
}

describe("tasks under watch", () => {
  it("give what their work gives and throw what it throws, and leave a row of both", async () => {
    const { tasks, store } = await createWatchdogHarness();
    expect(await tasks.run("import", () => 7, { taskId: "one", detail: { file: "rows.csv" } })).toBe(7);
    const error = new Error("no such file");
    await expect(tasks.run("import", () => Promise.reject(error), { taskId: "two" })).rejects.toBe(error);
    expect((await store.listTasks({ limit: 9 })).items).toMatchObject([
      { taskId: "two", status: "failed", detail: { error: "no such file" } },
      { taskId: "one", status: "succeeded", detail: { file: "rows.csv" } },
    ]);
  });

  it("fail at once when another task that their work waited for was lost", async () => {
    const { clock, tasks, store } = await createWatchdogHarness();
    const inner = async (task: Task) => {
      await clock.advance(2 * MINUTE_MS);
      await store.endStuckTasks({ name: "inner", status: "failed", reason: "silent", limit: 9 });
      await task.heartbeat();
    };
    const outer = () => tasks.run("inner", inner, { taskId: "inner", stuckAfterMs: MINUTE_MS });
    await expect(tasks.run("outer", outer, { taskId: "outer" })).rejects.toMatchObject({ code: "TASK_LOST" });
    expect(await tasks.run("outer", () => "again", { taskId: "outer" })).toBe("again");
  });

  it("run once at a time for each id, and side by side without one", async () => {
    const { tasks } = await createWatchdogHarness();
    const { ended, finish } = pending();
    const first = tasks.run("import", () => ended, { taskId: "import" });
    await expect(tasks.run("import", () => "again", { taskId: "import" })).rejects.toMatchObject({
      code: "TASK_RUNNING",
    });
    expect(await tasks.run("import", () => "beside")).toBe("beside");
    finish("done");
    expect(await first).toBe("done");
    expect(await tasks.run("import", () => "again", { taskId: "import" })).toBe("again");
  });

  it("R6: are left alone while they are heard of, and reset after an hour of silence; the late owner is refused", async () => {
    const { clock, tasks, watchdog, store } = await createWatchdogHarness();
    const { ended, finish } = pending();
    let task: Task | undefined;
    const run = tasks.run(
      "import",
      (given) => {
        task = given;
        return ended;
      },
      { taskId: "import" },
    );
    await expect.poll(() => task?.fence).toBe(1);
    await clock.advance(59 * MINUTE_MS);
    await task?.heartbeat();
    await clock.advance(59 * MINUTE_MS);
    await watchdog.beat();
    expect((await store.listTasks({ limit: 9 })).items).toMatchObject([{ status: "running" }]);
    await clock.advance(MINUTE_MS);
    await watchdog.beat();
    const reason = expect.stringContaining("have no heartbeat since");
    expect((await store.listTasks({ limit: 9 })).items).toMatchObject([
      { status: "reset", fence: 2, detail: { reason } },
    ]);
    await expect(task?.heartbeat()).rejects.toMatchObject({ code: "TASK_LOST" });
    expect(task?.signal.aborted).toBe(true);
    finish("late");
    await expect(run).rejects.toMatchObject({ code: "TASK_LOST" });
    expect((await store.listTasks({ limit: 9 })).items).toMatchObject([{ status: "reset" }]);
    expect((await store.listFailures({ limit: 9 })).items).toMatchObject([
      {
        failureType: "stuck_task",
        affectedService: "task:import",
        detectionMethod: "watchdog",
        context: { ids: ["import"] },
      },
    ]);
    expect((await store.listRecoveries({ limit: 9 })).items).toMatchObject([
      {
        actionStrategy: "stuck_task_reset",
        actionType: "reset",
        status: "succeeded",
        target: "task:import",
        dryRun: false,
      },
    ]);
    expect(await tasks.run("import", ({ fence }) => fence, { taskId: "import" })).toBe(3);
  });

  it("are failed instead where that is what was asked for", async () => {
    const { clock, tasks, watchdog, store } = await createWatchdogHarness();
    void tasks.run("report", () => new Promise(() => {}), {
      taskId: "report",
      whenStuck: "failed",
      stuckAfterMs: MINUTE_MS,
    });
    await clock.advance(MINUTE_MS);
    await watchdog.beat();
    expect((await store.listTasks({ limit: 9 })).items).toMatchObject([{ status: "failed", fence: 2 }]);
  });

  it("are not touched in shadow mode: what would have been done is a row", async () => {
    const { clock, tasks, watchdog, store } = await createWatchdogHarness({ mode: "shadow" });
    void tasks.run("import", () => new Promise(() => {}), { taskId: "import" });
    await clock.advance(2 * HOUR_MS);
    await watchdog.beat();
    expect((await store.listTasks({ limit: 9 })).items).toMatchObject([{ status: "running", fence: 1 }]);
    expect((await store.listRecoveries({ limit: 9 })).items).toMatchObject([
      { actionStrategy: "stuck_task_reset", status: "skipped", dryRun: true },
    ]);
  });

  it("go on while the store is away, and their end is written afterwards", async () => {
    let away = false;
    const refuse = () => Promise.reject(new ParamedicError("STORE_UNAVAILABLE", "away"));
    const { tasks, watchdog, store } = await createWatchdogHarness({}, (memory) => ({
      beatTask: (beat) => (away ? refuse() : memory.beatTask(beat)),
      endTask: (end) => (away ? refuse() : memory.endTask(end)),
    }));
    const value = await tasks.run(
      "import",
      async (task) => {
        away = true;
        await task.heartbeat();
        return "done";
      },
      { taskId: "import" },
    );
    expect(value).toBe("done");
    await watchdog.beat();
    expect((await store.listTasks({ limit: 9 })).items).toMatchObject([{ status: "running" }]);
    away = false;
    await watchdog.beat();
    expect((await store.listTasks({ limit: 9 })).items).toMatchObject([{ status: "succeeded" }]);
  });

  it.each([
    ["", {}],
    ["x".repeat(151), {}],
    ["import", { taskId: "" }],
    ["import", { stuckAfterMs: 0 }],
    ["import", { stuckAfterMs: 1.5 }],
  ])("refuse the name %j with %j", async (name, options) => {
    const { tasks } = await createWatchdogHarness();
    await expect(tasks.run(name, () => 1, options)).rejects.toMatchObject({ code: "CONFIGURATION_INVALID" });
  });
});

describe("a source of tasks", () => {
  /** Rows of an app's own, with a token that rises with every owner. */
  function mails(clock: { now(): number }) {
    const rows = new Map<string, { token: number; heartbeatAt: number; state: string }>();
    return {
      rows,
      put: (id: string, silentMs: number) =>
        void rows.set(id, { token: 1, heartbeatAt: clock.now() - silentMs, state: "running" }),
      source: {
        async query({ silentSince, limit }: { silentSince: number; limit: number }) {
          return [...rows]
            .filter(([, row]) => row.state === "running" && row.heartbeatAt < silentSince)
            .slice(0, limit)
            .map(([id, { token, heartbeatAt }]) => ({ id, token, heartbeatAt }));
        },
        async reset({ id, token }: StuckTask) {
          const row = rows.get(id);
          if (row === undefined || row.token !== token) return false;
          rows.set(id, { ...row, token: row.token + 1, state: "waiting" });
          return true;
        },
      },
    };
  }

  it("has what is silent for an hour reset under its token, and nothing else", async () => {
    const { clock, stuckTasks, watchdog, store } = await createWatchdogHarness();
    const { rows, put, source } = mails(clock);
    put("silent", HOUR_MS + 1);
    put("heard of", HOUR_MS - 1_000);
    stuckTasks.watch("mails", source);
    await watchdog.beat();
    expect(rows.get("silent")).toMatchObject({ token: 2, state: "waiting" });
    expect(rows.get("heard of")).toMatchObject({ token: 1, state: "running" });
    expect((await store.listRecoveries({ limit: 9 })).items).toMatchObject([
      { target: "task:mails", status: "succeeded", result: { ended: 1, renewed: 0 } },
    ]);
  });

  it("R6: is not asked to reset what its query gave although it was heard of", async () => {
    const { clock, stuckTasks, watchdog } = await createWatchdogHarness();
    const { rows, put, source } = mails(clock);
    put("heard of", 0);
    const careless = { ...source, query: async () => [{ id: "heard of", token: 1, heartbeatAt: clock.now() }] };
    stuckTasks.watch("mails", careless);
    await watchdog.beat();
    expect(rows.get("heard of")).toMatchObject({ token: 1 });
  });

  it("R6: keeps a task whose owner came back between the look and the reset", async () => {
    const { clock, stuckTasks, watchdog } = await createWatchdogHarness();
    const { rows, put, source } = mails(clock);
    put("silent", 2 * HOUR_MS);
    stuckTasks.watch("mails", {
      ...source,
      async query(search) {
        const found = await source.query(search);
        rows.set("silent", { token: 2, heartbeatAt: clock.now(), state: "running" });
        return found;
      },
    });
    await watchdog.beat();
    expect(rows.get("silent")).toMatchObject({ token: 2, state: "running" });
  });

  it("that throws keeps no other from its turn", async () => {
    const { clock, stuckTasks, watchdog, faults } = await createWatchdogHarness();
    const { rows, put, source } = mails(clock);
    put("silent", 2 * HOUR_MS);
    stuckTasks.watch("broken", { ...source, query: () => Promise.reject(new Error("no such table")) });
    stuckTasks.watch("mails", source);
    await watchdog.beat();
    expect(rows.get("silent")).toMatchObject({ state: "waiting" });
    expect(faults).toHaveLength(1);
  });

  it("is asked no more once it is watched no more, and is refused when it is none", async () => {
    const { clock, stuckTasks, watchdog } = await createWatchdogHarness();
    const { rows, put, source } = mails(clock);
    put("silent", 2 * HOUR_MS);
    stuckTasks.watch("mails", source)();
    await watchdog.beat();
    expect(rows.get("silent")).toMatchObject({ state: "running" });
    expect(() => stuckTasks.watch("", source)).toThrow("1 to 150 characters");
    expect(() => Reflect.apply(stuckTasks.watch, undefined, ["mails", {}])).toThrow("query and reset");
  });
});
