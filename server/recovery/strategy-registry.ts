/** The strategies an engine knows: checked once, when they are registered, and offered in the order in which they run. */
import { ParamedicError } from "../../shared/errors.js";
import { FAILURE_TYPES, type Failure } from "../../shared/failure.js";
import type { StrategyDescriptor } from "../../shared/plan.js";
import {
  ACTION_TYPES,
  NO_STRATEGY,
  REPAIR_LEVELS,
  type RecoveryStrategy,
  STRATEGY_SCOPES,
} from "../../shared/recovery.js";
import type { PolicyVerdict } from "../../shared/recovery-policy.js";
import { MAX_TIMER_MS } from "../../shared/units.js";

export interface StrategyRegistry {
  /** @throws ParamedicError `STRATEGY_INVALID` naming what is wrong and what is legal */
  register(strategy: RecoveryStrategy): void;
  get(name: string): RecoveryStrategy | undefined;
  /** By priority, then by name; the same array until the next registration. */
  all(): readonly RecoveryStrategy[];
}

/** A strategy of the same name takes the place of the one before: that is how a built-in one is adjusted. */
export function createStrategyRegistry(): StrategyRegistry {
  const byName = new Map<string, RecoveryStrategy>();
  let ordered: readonly RecoveryStrategy[] = Object.freeze([]);
  return Object.freeze<StrategyRegistry>({
    register(strategy) {
      checkStrategy(strategy);
      byName.set(strategy.name, strategy);
      ordered = Object.freeze(
        [...byName.values()].sort((a, b) => a.priority - b.priority || (a.name < b.name ? -1 : 1)),
      );
    },
    get: (name) => byName.get(name),
    all: () => ordered,
  });
}

/**
 * Strategies as the plan wants them, each one's own `appliesTo` already asked. One that throws there does not apply.
 */
export function describeStrategies(
  strategies: readonly RecoveryStrategy[],
  failure: Failure,
  {
    isEnabled,
    policyOf,
    onFault,
  }: {
    isEnabled: (name: string) => boolean;
    policyOf: (strategy: RecoveryStrategy) => PolicyVerdict | undefined;
    onFault: (error: unknown) => void;
  },
): StrategyDescriptor[] {
  const applies = (strategy: RecoveryStrategy): boolean => {
    if (!strategy.applicableFailureTypes.includes(failure.failureType)) return false;
    try {
      const said: unknown = strategy.appliesTo?.(failure);
      if (!(said instanceof Promise)) return said !== false;
      // Whatever it comes to, it comes too late, and nobody else would hear of its rejection.
      said.catch(() => {});
      throw new TypeError(`strategy "${strategy.name}": appliesTo gave a promise; legal is true or false`);
    } catch (error) {
      onFault(error);
      return false;
    }
  };
  return strategies.map((strategy) => ({
    name: strategy.name,
    scope: strategy.scope,
    priority: strategy.priority,
    actionType: strategy.actionType ?? "custom",
    applicableFailureTypes: strategy.applicableFailureTypes,
    applies: applies(strategy),
    enabled: isEnabled(strategy.name),
    level: strategy.level,
    cooldownMs: strategy.cooldownMs,
    policy: strategy.scope === "service" ? policyOf(strategy) : undefined,
  }));
}

const NAME = /^[\w.:-]{1,100}$/;

function checkStrategy(strategy: RecoveryStrategy): void {
  if (typeof strategy !== "object" || strategy === null) {
    throw invalid("a strategy", `is ${strategy === null ? "null" : typeof strategy}; legal is an object`);
  }
  const { name, scope, priority, applicableFailureTypes: types, actionType } = strategy;
  if (typeof name !== "string" || !NAME.test(name) || name === NO_STRATEGY) {
    throw invalid(
      "a strategy",
      `name is ${show(name)}; legal are 1 to 100 letters, digits and _ . : -, but not "${NO_STRATEGY}"`,
    );
  }
  const where = `strategy "${name}"`;
  if (!STRATEGY_SCOPES.includes(scope))
    throw invalid(where, `scope is ${show(scope)}; legal: ${list(STRATEGY_SCOPES)}`);
  if (!Number.isFinite(priority)) throw invalid(where, `priority is ${show(priority)}; legal is any finite number`);
  if (!Array.isArray(types) || types.length === 0) {
    throw invalid(where, `applicableFailureTypes is ${show(types)}; legal is a list of at least one failure type`);
  }
  for (const type of types) {
    if (!FAILURE_TYPES.includes(type)) {
      throw invalid(where, `the failure type ${show(type)} is unknown; legal: ${list(FAILURE_TYPES)}`);
    }
  }
  if (actionType !== undefined && !ACTION_TYPES.includes(actionType)) {
    throw invalid(where, `actionType is ${show(actionType)}; legal: ${list(ACTION_TYPES)}`);
  }
  checkRepairTraits(strategy, where);
  if (typeof strategy.execute !== "function") throw invalid(where, "execute is missing; legal is a function");
  for (const method of ["appliesTo", "verify", "rollback"] as const) {
    const given = strategy[method];
    if (given !== undefined && typeof given !== "function") {
      throw invalid(where, `${method} is ${show(given)}; legal is a function, or nothing`);
    }
  }
}

function checkRepairTraits({ level, target, cooldownMs, limit }: RecoveryStrategy, where: string): void {
  if (level !== undefined && !REPAIR_LEVELS.includes(level)) {
    throw invalid(where, `level is ${show(level)}; legal: ${list(REPAIR_LEVELS)}`);
  }
  if (target !== undefined && (typeof target !== "string" || target === "" || target.length > 200)) {
    throw invalid(where, `target is ${show(target)}; legal are 1 to 200 characters`);
  }
  if (cooldownMs !== undefined && !isWithin(cooldownMs, 0, MAX_TIMER_MS)) {
    throw invalid(where, `cooldownMs is ${show(cooldownMs)}; legal is [0, ${MAX_TIMER_MS}]`);
  }
  if (limit === undefined) return;
  if (limit === null || !isWithin(limit.most, 1, 10_000) || !isWithin(limit.windowMs, 1, MAX_TIMER_MS)) {
    throw invalid(
      where,
      `limit is out of its range; legal are most in [1, 10000] and windowMs in [1, ${MAX_TIMER_MS}]`,
    );
  }
}

function isWithin(value: unknown, least: number, most: number): boolean {
  return typeof value === "number" && value >= least && value <= most;
}

function invalid(what: string, problem: string): ParamedicError {
  return new ParamedicError("STRATEGY_INVALID", `${what}: ${problem}`);
}

function show(value: unknown): string {
  if (typeof value === "string") return `"${value.slice(0, 100)}"`;
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  // Not every object can say what it is.
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

function list(values: readonly string[]): string {
  return values.join(", ");
}
