/** What it costs to run one call's work again, out of which budgets, and whether they can pay. */
import type { GuardError } from "./guard-error.js";
import type { GuardedService } from "./guarded-service.js";
import type { RescuableCall } from "./rescuable-call.js";
import type { BudgetLimit } from "./rescue-budget.js";
import { FAILOVER_COST, RETRY_COST } from "./retry-budget.js";

/** `again`: one that was asked · `next`: one that was not · `beside`: whoever it is, while the present one may still answer. */
export type RescueWay = "again" | "next" | "beside";

type Payer = Pick<
  RescuableCall,
  "engine" | "service" | "attempts" | "record" | "nothingSent" | "targetsLeft" | "refusal"
>;

/** @param payer the service whose budgets pay */
export function canAfford(call: Payer, way: RescueWay, payer = call.service): boolean {
  const needed = costOf(call, way) + keptFor(call, way, payer);
  return payer.budget.has(needed, call.engine.clock.monotonic()) && rescuesSpent(call, payer) === undefined;
}

/** The limit of the service's rescue budget that lets this work not run again. */
export function rescuesSpent(
  call: Pick<Payer, "engine" | "service" | "nothingSent">,
  payer: GuardedService = call.service,
): BudgetLimit | undefined {
  if (call.nothingSent) return undefined;
  return payer.rescueBudget?.spent(call.engine.clock.monotonic());
}

/** @throws GuardError when a budget cannot pay */
export function pay(call: Payer, way: RescueWay, payer = call.service): void {
  if (rescuesSpent(call, payer) !== undefined) throw overBudget(call);
  const now = call.engine.clock.monotonic();
  const cost = costOf(call, way);
  if (!payer.budget.has(cost + keptFor(call, way, payer), now) || !payer.budget.take(cost, now)) {
    throw call.refusal("retry_budget", "has spent its retries and failovers");
  }
}

export function overBudget(call: Payer): GuardError {
  const name = call.service.rescueBudget?.name ?? call.service.name;
  const limit = rescuesSpent(call);
  return call.refusal("rescue_budget", `has spent the ${limit ?? "rest"} of the rescue budget "${name}"`);
}

/**
 * Who was refused at the door and has the time to wait asks for the first time. A call that was refused, or proved that it
 * sent nothing, adds no load when it goes elsewhere.
 */
function costOf({ attempts, record }: Payer, way: RescueWay): number {
  if (way === "next") return record.last?.classification.nothingSent ? 0 : FAILOVER_COST;
  return attempts === 0 ? 0 : RETRY_COST;
}

/** What is left for callers who have nowhere else to go. */
function keptFor(call: Payer, way: RescueWay, payer: GuardedService): number {
  const hasOtherHope = way === "beside" || (way === "again" && call.attempts > 0 && call.targetsLeft() > 0);
  return hasOtherHope ? payer.budget.kept(call.engine.clock.monotonic()) : 0;
}
