/** Puts both runs side by side and checks that their rows tell the same story. */
import { type ParamedicSide, readParamedicSide } from "./paramedic-rows.js";
import type { Phase, Schedule } from "./schedule.js";
import type { UserCalls } from "./user-calls.js";
import { readUserSide, type UserSide } from "./user-rows.js";

/** Something that must hold, with the numbers that decide it. */
export interface Check {
  readonly claim: string;
  readonly numbers: string;
  readonly holds: boolean;
}

export interface Report {
  readonly speed: number;
  readonly seed: number;
  /** Failures that users saw, with Paramedic or without, while nothing was broken. */
  readonly failedWhileHealthy: number;
  readonly with: UserSide;
  readonly without: UserSide;
  readonly paramedic: ParamedicSide;
  readonly checks: readonly Check[];
}

export interface ReportOptions {
  readonly rows: UserCalls;
  readonly paramedicDatabase: string;
  readonly speed: number;
  readonly schedule: Schedule;
  /** Measurements went through Redis, which may take with it what it had not handed on. */
  readonly redis: boolean;
}

/** With Paramedic, users may see at most this share of the failures they see without it. */
const SHARE_OF_FAILURES = 0.1;

export function readReport({ rows, paramedicDatabase, speed, schedule, redis }: ReportOptions): Report {
  const withParamedic = readUserSide(rows, "with");
  const without = readUserSide(rows, "without");
  const paramedic = readParamedicSide(paramedicDatabase);
  return {
    speed,
    seed: schedule.seed,
    failedWhileHealthy: [withParamedic, without]
      .flatMap(({ phases }) => phases.filter(({ phase }) => isCalm(schedule.phases[phase - 1])))
      .reduce((sum, { failed }) => sum + failed, 0),
    with: withParamedic,
    without,
    paramedic,
    checks: checksOf(withParamedic, without, paramedic, redis),
  };
}

/** Nothing is broken; nor is it before the story, where there is no phase. */
function isCalm(phase: Phase | undefined): boolean {
  return phase === undefined || (Object.keys(phase.providers).length === 0 && phase.databaseLock === undefined);
}

function checksOf(
  withParamedic: UserSide,
  without: UserSide,
  paramedic: ParamedicSide,
  redis: boolean,
): readonly Check[] {
  const lastPhase = withParamedic.phases.at(-1);
  const seen = paramedic.procedures.reduce((sum, { calls }) => sum + calls, 0);
  const fallbacks = withParamedic.answeredBy.get("front desk") ?? 0;
  const { recorded, rolledUp, dropped, missing } = paramedic.accounting;
  return [
    {
      claim: "users' failures are at most a tenth",
      numbers: `with ${withParamedic.failed}, without ${without.failed}`,
      holds: without.failed > 0 && withParamedic.failed <= without.failed * SHARE_OF_FAILURES,
    },
    {
      claim: "no failure while all providers were dead",
      numbers: `${lastPhase?.failed ?? "no"} of ${lastPhase?.calls ?? 0} calls`,
      holds: lastPhase !== undefined && lastPhase.calls > 0 && lastPhase.failed === 0,
    },
    {
      claim: "Paramedic saw every call",
      numbers: `rollups ${seen}, user_calls ${withParamedic.calls}`,
      holds: seen <= withParamedic.calls && withParamedic.calls - seen <= missing,
    },
    {
      claim: "the front desk's answers are fallbacks that succeeded",
      numbers: `user_calls ${fallbacks}, recovery_actions ${paramedic.fallbacks}`,
      // A fallback may answer a user who has given up.
      holds: fallbacks <= paramedic.fallbacks && paramedic.fallbacks - fallbacks <= withParamedic.failed,
    },
    {
      claim: redis ? "recorded = rolled up + dropped + lost" : "recorded = rolled up + dropped, nothing lost",
      numbers: `${recorded} = ${rolledUp} + ${dropped} + ${missing}`,
      holds: recorded > 0 && (redis ? missing >= 0 : missing === 0),
    },
    {
      claim: "no recovery action is left in progress",
      numbers: `${paramedic.unfinished}`,
      holds: paramedic.unfinished === 0,
    },
  ];
}
