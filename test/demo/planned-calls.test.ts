import { describe, expect, it } from "vitest";
import { type Plan, planCalls } from "../../examples/demo/planned-calls.js";
import { atSpeed, PROCEDURES, readSchedule } from "../../examples/demo/schedule.js";

const SCHEDULE = readSchedule();

const callsOf = ({ before, story }: Plan) => [...before, ...story].map(({ phase, call }) => ({ phase, call }));

describe("the planned calls of the story", () => {
  it("are the same ones at every speed, at times divided by it", () => {
    const asWritten = planCalls(SCHEDULE);
    const fast = planCalls(atSpeed(SCHEDULE, 10));
    expect(callsOf(fast)).toEqual(callsOf(asWritten));
    expect(fast.story.map(({ atMs }) => atMs * 10)).toEqual(asWritten.story.map(({ atMs }) => expect.closeTo(atMs, 3)));
  });

  it("come at the rate of each phase, in order of time, and reach every procedure in every phase", () => {
    const { story } = planCalls(SCHEDULE);
    for (const [index, phase] of SCHEDULE.phases.entries()) {
      const inPhase = story.filter((planned) => planned.phase === index + 1);
      expect(inPhase).toHaveLength((phase.durationMs / 1_000) * phase.callsPerSecond);
      expect(new Set(inPhase.map(({ call }) => call.procedure))).toEqual(new Set(PROCEDURES));
    }
    const times = story.map(({ atMs }) => atMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  it("hold pairs that are made at the same moment, so that HTTP requests carry batches", () => {
    const { story } = planCalls(SCHEDULE);
    const together = story.filter(({ atMs }, index) => story[index + 1]?.atMs === atMs);
    expect(together.length).toBeGreaterThan(story.length / 10);
  });

  it("hold bookings of a slot that is taken, and otherwise never the same slot twice", () => {
    const slots = callsOf(planCalls(SCHEDULE)).flatMap(({ call }) =>
      call.procedure === "appointments.book" ? [call.input.startsAt.getTime()] : [],
    );
    const repeated = slots.filter((slot, index) => slots.indexOf(slot) < index);
    expect(repeated.length).toBeGreaterThan(3);
    expect(new Set(repeated)).toEqual(new Set([slots[0]]));
  });
});

describe("atSpeed", () => {
  it("divides every time and multiplies every rate, and leaves out no phase", () => {
    const fast = atSpeed(SCHEDULE, 10);
    expect(fast.phases.map(({ name }) => name)).toEqual(SCHEDULE.phases.map(({ name }) => name));
    for (const [name, ms] of Object.entries(SCHEDULE.settings)) expect(fast.settings[name]).toBe(ms / 10);
    for (const [index, phase] of SCHEDULE.phases.entries()) {
      expect(fast.phases[index]?.durationMs).toBe(phase.durationMs / 10);
      expect(fast.phases[index]?.callsPerSecond).toBe(phase.callsPerSecond * 10);
    }
    expect(fast.userDeadlineMs).toBe(SCHEDULE.userDeadlineMs / 10);
  });
});
