/** Plays the whole story once: a clinic, its providers, the process that locks its database, and the users. */
import { setTimeout as wait } from "node:timers/promises";
import type { ClinicReady } from "../clinic/main.js";
import type { Control } from "../providers/behaviour.js";
import type { ProvidersReady } from "../providers/main.js";
import { type Child, startChild } from "./child.js";
import { createUsers } from "./driver.js";
import type { LockerOrder } from "./locker.js";
import type { Plan } from "./planned-calls.js";
import type { Schedule } from "./schedule.js";
import { type Run, storyPhases, type UserCall, type UserCalls, userCalls } from "./user-calls.js";

export interface ClinicOptions {
  readonly run: Run;
  /** At the speed at which it is to be played. */
  readonly schedule: Schedule;
  readonly providers: Child<ProvidersReady>;
  /** Of the clinic, for this run. */
  readonly database: string;
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
}

export function startClinic({ run, schedule, providers, database, env, logFile }: ClinicOptions) {
  return startChild<ClinicReady>({
    script: "clinic/main.ts",
    env: {
      ...Object.fromEntries(Object.entries(schedule.settings).map(([name, ms]) => [name, String(ms)])),
      CLINIC_PORT: "0",
      CLINIC_DATABASE: database,
      CLINIC_PARAMEDIC: run === "with" ? "on" : "off",
      CLINIC_PROVIDERS: providers.ready.providers.map(({ name, baseURL }) => `${name}=${baseURL}`).join(","),
      ...env,
    },
    logFile,
  });
}

export interface PlayOptions extends ClinicOptions {
  readonly plan: Plan;
  readonly rows: UserCalls;
  readonly onPhase: (name: string) => void;
  readonly onEnded: (call: Omit<UserCall, "run">) => void;
}

/** Resolves when the last call has ended and the clinic has closed, which writes down whatever it still held. */
export async function play(options: PlayOptions): Promise<void> {
  const { run, schedule, plan, providers, rows, database } = options;
  await behave(providers, schedule, {});
  const clinic = await startClinic(options);
  const locker = await startChild({ script: "demo/locker.ts", args: [database] });
  const users = createUsers({
    url: clinic.ready.url,
    userDeadlineMs: schedule.userDeadlineMs,
    onEnded(call) {
      rows
        .insert(userCalls)
        .values({ run, ...call })
        .run();
      options.onEnded(call);
    },
  });
  const enter = (phase: number, name: string) => {
    options.onPhase(name);
    rows.insert(storyPhases).values({ run, phase, name, startedAt: Date.now() }).run();
  };

  const breakThings = async () => {
    const began = performance.now();
    let endMs = 0;
    for (const [index, phase] of schedule.phases.entries()) {
      enter(index + 1, phase.name);
      await behave(providers, schedule, phase.providers);
      locker.send({ hold: phase.databaseLock } satisfies LockerOrder);
      endMs += phase.durationMs;
      await wait(Math.max(0, began + endMs - performance.now()));
    }
    locker.send({ hold: undefined } satisfies LockerOrder);
  };

  enter(0, "before the story");
  await users.fewAtATime(plan.before);
  await Promise.all([breakThings(), users.whenDue(plan.story)]);
  options.onPhase("closing");
  await behave(providers, schedule, {});
  await locker.stop();
  await clinic.stop();
}

/** Those not named in `broken` become healthy. */
async function behave(providers: Child<ProvidersReady>, schedule: Schedule, broken: Control): Promise<void> {
  const wanted: Control = Object.fromEntries(
    providers.ready.providers.map(({ name }) => [name, broken[name] ?? schedule.healthy]),
  );
  const response = await fetch(providers.ready.controlURL, { method: "POST", body: JSON.stringify(wanted) });
  if (!response.ok) throw new Error(`the providers refused ${JSON.stringify(wanted)}: ${await response.text()}`);
}
