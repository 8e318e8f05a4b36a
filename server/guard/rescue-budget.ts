/**
 * One budget of what rescues cost, for one service or shared by several. An attempt is booked before it is made: at what such
 * attempts used lately, because what it uses is known only when it has ended. What it says then replaces that; an attempt
 * that ends without a word may have been billed, so its booking stands.
 */
import { RESCUE_BUDGET_DEFAULTS, type RescueBudgetPolicy } from "./rescue-budget-policy.js";

/** What one attempt used; what is unknown is left out. */
export interface Usage {
  readonly tokens?: number | undefined;
  readonly cost?: number | undefined;
}

/** What is spent of a budget. */
export type BudgetLimit = "attempts" | "tokens" | "cost";

/** One extra attempt, booked. */
export interface Booking {
  /** Replaces what was booked by what was used. Once. */
  settle(usage: Usage): void;
}

export interface RescueBudget {
  readonly name: string;
  /** The limit that lets no further attempt be made now; undefined when there is room. */
  spent(now: number): BudgetLimit | undefined;
  /** Books one attempt, or none and says so. */
  book(now: number): Booking | undefined;
  /** An attempt, of whatever kind, used this: the next ones will be booked at about as much. */
  learn(usage: Usage): void;
  /** What is left of each limit that is set. */
  left(now: number): Readonly<Partial<Record<BudgetLimit, number>>>;
}

/** Any span of the window's length touches one slot more than this. */
const SLOTS = 10;
/** How fast what attempts use is learnt: a tenth of each difference. */
const LEARNING = 0.1;

interface Slot {
  readonly number: number;
  attempts: number;
  tokens: number;
  cost: number;
}

/** @example createRescueBudget("llm", { maxTokens: 100_000, windowMs: 60_000 }).book(clock.monotonic()) */
export function createRescueBudget(name: string, policy: RescueBudgetPolicy): RescueBudget {
  const { maxAttempts, maxTokens, maxCost, windowMs = RESCUE_BUDGET_DEFAULTS.windowMs } = policy;
  const slotMs = windowMs / SLOTS;
  const slots: Slot[] = [];
  let usual: { tokens: number | undefined; cost: number | undefined } = { tokens: undefined, cost: undefined };

  const slotOf = (now: number): Slot => {
    const number = Math.floor(now / slotMs);
    while (slots[0] !== undefined && slots[0].number < number - SLOTS) slots.shift();
    const last = slots.at(-1);
    if (last !== undefined && last.number >= number) return last;
    const made = { number, attempts: 0, tokens: 0, cost: 0 };
    slots.push(made);
    return made;
  };

  const left = (now: number) => {
    slotOf(now);
    const used = (limit: BudgetLimit) => slots.reduce((sum, slot) => sum + slot[limit], 0);
    const leftOf = (limit: BudgetLimit, max: number | undefined) =>
      max === undefined ? {} : { [limit]: Math.max(max - used(limit), 0) };
    return {
      ...leftOf("attempts", maxAttempts),
      ...leftOf("tokens", maxTokens),
      ...leftOf("cost", maxCost),
    } as Partial<Record<BudgetLimit, number>>;
  };

  const spent = (now: number): BudgetLimit | undefined => {
    const { attempts, tokens, cost } = left(now);
    if (attempts !== undefined && attempts < 1) return "attempts";
    // Where nothing is known of what attempts use, there must be something left at all.
    if (tokens !== undefined && (tokens === 0 || tokens < (usual.tokens ?? 0))) return "tokens";
    if (cost !== undefined && (cost === 0 || cost < (usual.cost ?? 0))) return "cost";
    return undefined;
  };

  return {
    name,
    spent,
    left,
    book(now) {
      if (spent(now) !== undefined) return undefined;
      const slot = slotOf(now);
      const booked = { tokens: usual.tokens ?? 0, cost: usual.cost ?? 0 };
      let settled = false;
      slot.attempts += 1;
      slot.tokens += booked.tokens;
      slot.cost += booked.cost;
      return {
        settle({ tokens = booked.tokens, cost = booked.cost }) {
          if (settled) return;
          settled = true;
          slot.tokens = Math.max(slot.tokens + tokens - booked.tokens, 0);
          slot.cost = Math.max(slot.cost + cost - booked.cost, 0);
        },
      };
    },
    learn({ tokens, cost }) {
      usual = { tokens: learnt(usual.tokens, tokens), cost: learnt(usual.cost, cost) };
    },
  };
}

function learnt(before: number | undefined, now: number | undefined): number | undefined {
  if (now === undefined) return before;
  return before === undefined ? now : before + (now - before) * LEARNING;
}
