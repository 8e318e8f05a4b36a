/** The story that the demo plays: what is broken when, how many calls come, and how fast it all goes. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { type Behaviour, behaviourSchema } from "../providers/behaviour.js";

export const PROCEDURES = ["ask", "appointments.list", "appointments.book", "notes.add"] as const;
export type Procedure = (typeof PROCEDURES)[number];

const milliseconds = z.number().int().min(1).max(600_000);
const weight = z.number().int().min(0).max(1_000);

const phaseSchema = z.strictObject({
  name: z.string().min(1).max(30),
  durationMs: milliseconds,
  callsPerSecond: z.number().int().min(1).max(1_000),
  /** Those not named are healthy. */
  providers: z.record(z.string(), behaviourSchema),
  /** Another process holds the clinic's database for `holdMs`, leaves it alone for `freeMs`, and so on. */
  databaseLock: z.strictObject({ holdMs: milliseconds, freeMs: milliseconds }).optional(),
});

const scheduleSchema = z.strictObject({
  seed: z.number().int().min(0),
  /** Made before the story begins, so that it meets a server that has warmed up; they count like all others. */
  firstCalls: z.number().int().min(0).max(1_000),
  /** After this long a user gives up: a call that hangs is a failure for whoever waits. */
  userDeadlineMs: milliseconds,
  /** How often each procedure is called, by weight. */
  mix: z.strictObject({
    ask: weight,
    "appointments.list": weight,
    "appointments.book": weight,
    "notes.add": weight,
  } satisfies Record<Procedure, z.ZodType>),
  /** Environment of the clinic; every one of them is a time. */
  settings: z.record(z.string().regex(/^[A-Z_]+_MS$/), milliseconds),
  /** How a healthy provider behaves. */
  healthy: behaviourSchema,
  phases: z.array(phaseSchema).min(1),
});

export type Phase = z.infer<typeof phaseSchema>;
export type Schedule = z.infer<typeof scheduleSchema>;

/** The committed story. */
const COMMITTED = fileURLToPath(new URL("./schedule.json", import.meta.url));

/**
 * A story at its own speed.
 *
 * @throws Error when the file is missing or says something that no story can
 */
export function readSchedule(path: string = COMMITTED): Schedule {
  return scheduleSchema.parse(JSON.parse(readFileSync(path, "utf8")));
}

/**
 * The same story `speed` times as fast: every time in it is divided and every rate multiplied, so that the same calls meet
 * the same faults.
 *
 * @param speed greater than 0; 1 is as written
 */
export function atSpeed(schedule: Schedule, speed: number): Schedule {
  const scaled = (ms: number) => Math.max(1, Math.round(ms / speed));
  const behaving = (behaviour: Behaviour): Behaviour =>
    behaviour.kind === "healthy"
      ? { kind: "healthy", minMs: behaviour.minMs / speed, maxMs: behaviour.maxMs / speed }
      : behaviour;
  return {
    ...schedule,
    userDeadlineMs: scaled(schedule.userDeadlineMs),
    settings: Object.fromEntries(Object.entries(schedule.settings).map(([name, ms]) => [name, scaled(ms)])),
    healthy: behaving(schedule.healthy),
    phases: schedule.phases.map((phase) => ({
      ...phase,
      durationMs: scaled(phase.durationMs),
      callsPerSecond: phase.callsPerSecond * speed,
      providers: Object.fromEntries(
        Object.entries(phase.providers).map(([name, behaviour]) => [name, behaving(behaviour)]),
      ),
      databaseLock: phase.databaseLock && {
        holdMs: scaled(phase.databaseLock.holdMs),
        freeMs: scaled(phase.databaseLock.freeMs),
      },
    })),
  };
}
