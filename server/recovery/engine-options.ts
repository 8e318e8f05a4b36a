/** What of a RecoveryEngine can be set: units, defaults and legal ranges. */
import { ParamedicError } from "../../shared/errors.js";
import { LIMITED_SERVICES_DEFAULT } from "../../shared/mode.js";
import { type RecoveryPolicy, recoveryPolicies } from "../../shared/recovery-policy.js";
import { MAX_TIMER_MS, MINUTE_MS, SECOND_MS } from "../../shared/units.js";

export interface RecoveryEngineOptions {
  /** How often the journal becomes rows; a kill loses at most this much of it. 1 to 2^31-1 ms. @default 250 */
  readonly drainIntervalMs?: number;
  /** Entries written in one transaction; 1 to 10,000. @default 500 */
  readonly drainBatchSize?: number;
  /** The longest wait between tries while the store is away; 1 to 2^31-1 ms. @default 15_000 */
  readonly maxBackoffMs?: number;
  /** How long a repair may take; 1 to 2^31-1 ms. @default 30_000 */
  readonly repairTimeoutMs?: number;
  /** How long each of its `verify` and `rollback` may take; 1 to 2^31-1 ms. @default 10_000 */
  readonly verifyTimeoutMs?: number;
  /** How long a service is left alone after a repair; 0 to 2^31-1 ms. @default 30_000 */
  readonly repairCooldownMs?: number;
  /** Repairs of one service in one window, over all instances; 1 to 90. @default 5 */
  readonly maxRepairsPerWindow?: number;
  /** 1 to 2^31-1 ms. @default 600_000 */
  readonly repairWindowMs?: number;
  /** How often one level of recovery fails within the window before the next is tried; 1 to 90. @default 3 */
  readonly escalateAfter?: number;
  /** How long a repair waits for an operator before it expires; 1 to 2^31-1 ms. @default 900_000 */
  readonly approvalTimeoutMs?: number;
  /** What operators allow; the first rule that fits decides. @default every repair, outside of maintenance */
  readonly policies?: readonly RecoveryPolicy[];
  /** Repairs at once in this process; 1 to 1,000. @default 4 */
  readonly maxConcurrentRepairs?: number;
  /** An open failure not seen for this long is resolved; 1 to 2^31-1 ms. @default 60_000 */
  readonly resolveAfterMs?: number;
  /** How often lapsed leases and quiet failures are looked for; 1 to 2^31-1 ms. @default 10_000 */
  readonly sweepIntervalMs?: number;
  /** How long `stop` waits for repairs under way; 0 to 2^31-1 ms. @default 5_000 */
  readonly stopWaitMs?: number;
  /** What mode `limited` may touch: names, or prefixes ending in `*`. @default ["llm:*"] */
  readonly limitedServices?: readonly string[];
}

export const RECOVERY_ENGINE_DEFAULTS = {
  drainIntervalMs: 250,
  drainBatchSize: 500,
  maxBackoffMs: 15 * SECOND_MS,
  repairTimeoutMs: 30 * SECOND_MS,
  verifyTimeoutMs: 10 * SECOND_MS,
  repairCooldownMs: 30 * SECOND_MS,
  maxRepairsPerWindow: 5,
  repairWindowMs: 10 * MINUTE_MS,
  escalateAfter: 3,
  approvalTimeoutMs: 15 * MINUTE_MS,
  policies: [],
  maxConcurrentRepairs: 4,
  resolveAfterMs: MINUTE_MS,
  sweepIntervalMs: 10 * SECOND_MS,
  stopWaitMs: 5 * SECOND_MS,
  limitedServices: LIMITED_SERVICES_DEFAULT,
} as const satisfies Required<RecoveryEngineOptions>;

const RANGES = {
  drainIntervalMs: [1, MAX_TIMER_MS],
  drainBatchSize: [1, 10_000],
  maxBackoffMs: [1, MAX_TIMER_MS],
  repairTimeoutMs: [1, MAX_TIMER_MS],
  verifyTimeoutMs: [1, MAX_TIMER_MS],
  repairCooldownMs: [0, MAX_TIMER_MS],
  maxRepairsPerWindow: [1, 90],
  repairWindowMs: [1, MAX_TIMER_MS],
  escalateAfter: [1, 90],
  approvalTimeoutMs: [1, MAX_TIMER_MS],
  maxConcurrentRepairs: [1, 1_000],
  resolveAfterMs: [1, MAX_TIMER_MS],
  sweepIntervalMs: [1, MAX_TIMER_MS],
  stopWaitMs: [0, MAX_TIMER_MS],
} as const satisfies Record<
  Exclude<keyof RecoveryEngineOptions, "limitedServices" | "policies">,
  readonly [number, number]
>;

/** @throws ParamedicError `CONFIGURATION_INVALID` naming the option, what it got and what is legal */
export function resolveEngineOptions(given: RecoveryEngineOptions): Required<RecoveryEngineOptions> {
  const options = { ...RECOVERY_ENGINE_DEFAULTS, ...given };
  for (const [name, [min, max]] of Object.entries(RANGES)) {
    const value: unknown = Reflect.get(options, name);
    if (typeof value === "number" && value >= min && value <= max) continue;
    throw new ParamedicError("CONFIGURATION_INVALID", `RecoveryEngine: ${name} is ${value}; legal is [${min}, ${max}]`);
  }
  const checked = recoveryPolicies.safeParse(options.policies);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    const where = ["policies", ...(issue?.path ?? [])].join(".");
    throw new ParamedicError("CONFIGURATION_INVALID", `RecoveryEngine: ${where}: ${issue?.message}`);
  }
  return options;
}
