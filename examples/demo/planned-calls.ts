/** Which calls users make when: the same ones for one schedule, whoever plays it and how fast. */
import { seededRandom } from "../seeded-random.js";
import { PROCEDURES, type Procedure, type Schedule } from "./schedule.js";

export type Call =
  | { readonly procedure: "ask"; readonly input: { question: string } }
  | { readonly procedure: "appointments.list"; readonly input: { doctor: string; from: Date } }
  | {
      readonly procedure: "appointments.book";
      readonly input: { patientId: number; doctor: string; startsAt: Date };
    }
  | { readonly procedure: "notes.add"; readonly input: { patientId: number; body: string } };

export interface PlannedCall {
  /** Milliseconds from the start of the story. */
  readonly atMs: number;
  /** 1 is the first phase of the story; 0 stands for the calls before it. */
  readonly phase: number;
  readonly call: Call;
}

/** Every call of one run. */
export interface Plan {
  readonly before: readonly PlannedCall[];
  readonly story: readonly PlannedCall[];
}

const DOCTORS = ["Dr Lovelace", "Dr Hopper", "Dr Turing"] as const;
const QUESTIONS = [
  "When do I have to be there?",
  "May I eat before the blood test?",
  "What should I bring?",
  "Is the clinic open on Friday?",
] as const;
const FIRST_DAY = Date.UTC(2026, 0, 5, 8);
const SLOT_MS = 15 * 60_000;

/** Every seventh visit is a page that asks for two things at once, which one HTTP request then carries. */
const PAGE_EVERY = 7;

/** Every twentieth booking is for a slot that is taken: the user is told so, and nothing has failed. */
const TAKEN_EVERY = 20;

export function planCalls(schedule: Schedule): Plan {
  const random = seededRandom(schedule.seed);
  const pick = <T>(values: readonly [T, ...T[]]): T => values[Math.floor(random() * values.length)] ?? values[0];
  const bag = PROCEDURES.flatMap((procedure) => Array<Procedure>(schedule.mix[procedure]).fill(procedure));
  let bookings = 0;

  const callOf = (procedure: Procedure): Call => {
    switch (procedure) {
      case "ask":
        return { procedure, input: { question: pick(QUESTIONS) } };
      case "appointments.list":
        return { procedure, input: { doctor: pick(DOCTORS), from: new Date(FIRST_DAY) } };
      case "appointments.book": {
        bookings += 1;
        const slot = bookings > 1 && bookings % TAKEN_EVERY === 0 ? 1 : bookings;
        return {
          procedure,
          input: { patientId: 1 + (bookings % 5), doctor: DOCTORS[0], startsAt: new Date(FIRST_DAY + slot * SLOT_MS) },
        };
      }
      case "notes.add":
        return {
          procedure,
          input: { patientId: 1 + Math.floor(random() * 5), body: "Called about the test results." },
        };
    }
  };

  const next = (): Call => callOf(bag[Math.floor(random() * bag.length)] ?? "ask");

  const before = Array.from({ length: schedule.firstCalls }, (): PlannedCall => ({ atMs: 0, phase: 0, call: next() }));
  const story: PlannedCall[] = [];
  let phaseStartMs = 0;
  for (const [index, { durationMs, callsPerSecond }] of schedule.phases.entries()) {
    const calls = Math.round((durationMs / 1_000) * callsPerSecond);
    for (let nth = 0; nth < calls; nth += 1) {
      const together = nth % PAGE_EVERY === PAGE_EVERY - 1 ? 1 : 0;
      story.push({ atMs: phaseStartMs + ((nth - together) / calls) * durationMs, phase: index + 1, call: next() });
    }
    phaseStartMs += durationMs;
  }
  return { before, story };
}
