/** Puts both runs side by side and checks that their rows tell the same story. */
import { type ParamedicSide, readParamedicSide } from "./paramedic-rows.js";
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
  readonly with: UserSide;
  readonly without: UserSide;
  readonly paramedic: ParamedicSide;
  readonly checks: readonly Check[];
}

export interface ReportOptions {
  readonly rows: UserCalls;
  readonly paramedicDatabase: string;
  readonly speed: number;
  readonly seed: number;
}

/** With Paramedic, users may see at most this share of the failures they see without it. */
const SHARE_OF_FAILURES = 0.1;

export function readReport({ rows, paramedicDatabase, speed, seed }: ReportOptions): Report {
  const withParamedic = readUserSide(rows, "with");
  const without = readUserSide(rows, "without");
  const paramedic = readParamedicSide(paramedicDatabase);
  return {
    speed,
    seed,
    with: withParamedic,
    without,
    paramedic,
    checks: checksOf(withParamedic, without, paramedic),
  };
}

function checksOf(withParamedic: UserSide, without: UserSide, paramedic: ParamedicSide): readonly Check[] {
  const lastPhase = withParamedic.phases.at(-1);
  const seen = paramedic.procedures.reduce((sum, { calls }) => sum + calls, 0);
  const fallbacks = withParamedic.answeredBy.get("front desk") ?? 0;
  const { recorded, rolledUp, dropped, missing } = paramedic.accounting;
  return [
    {
      claim: "users' failures are at most a tenth of those without Paramedic",
      numbers: `${withParamedic.failed} and ${without.failed}`,
      holds: without.failed > 0 && withParamedic.failed <= without.failed * SHARE_OF_FAILURES,
    },
    {
      claim: "nobody saw a failure while all providers were dead",
      numbers: `${lastPhase?.failed ?? "no"} of ${lastPhase?.calls ?? 0}`,
      holds: lastPhase !== undefined && lastPhase.calls > 0 && lastPhase.failed === 0,
    },
    {
      claim: "Paramedic saw every call that users made",
      numbers: `${seen} in rollups, ${withParamedic.calls} in user_calls`,
      holds: seen === withParamedic.calls,
    },
    {
      claim: "every answer of the front desk is a fallback that succeeded",
      numbers: `${fallbacks} in user_calls, ${paramedic.fallbacks} in recovery_actions`,
      holds: fallbacks === paramedic.fallbacks,
    },
    {
      claim: "recorded = rolled up + dropped + lost + in flight, with nothing lost",
      numbers: `${recorded} = ${rolledUp} + ${dropped} + ${missing}`,
      holds: recorded > 0 && missing === 0,
    },
    {
      claim: "no recovery action is left in progress",
      numbers: `${paramedic.unfinished}`,
      holds: paramedic.unfinished === 0,
    },
  ];
}
