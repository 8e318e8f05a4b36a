/** How much of the whole works only by its fallbacks. Pure. */
import type { CircuitSnapshot } from "./circuit.js";

export const DEGRADATION_LEVELS = ["normal", "partial", "severe"] as const;
/** `partial`: one or two parts are on their fallback; `severe`: three or more. */
export type DegradationLevel = (typeof DEGRADATION_LEVELS)[number];

export interface Degradation {
  readonly level: DegradationLevel;
  /** The parts, by name. */
  readonly parts: readonly string[];
}

const SEVERE_FROM = 3;

/**
 * A part is on its fallback while its circuit is not closed, while its health check fails, or while the store is away. What
 * is known of one part from several sides is one part.
 *
 * @example degradationOf({ circuits: [], checks: [], storeAway: true }) // { level: "partial", parts: ["store"] }
 */
export function degradationOf(facts: {
  readonly circuits: readonly Pick<CircuitSnapshot, "name" | "state" | "held">[];
  readonly checks: readonly { readonly name: string; readonly status: string }[];
  readonly storeAway: boolean;
}): Degradation {
  const circuits = facts.circuits.filter(({ state, held }) =>
    held === undefined ? state !== "closed" : held.state === "forced_open",
  );
  const failing = facts.checks.filter(({ status }) => status === "unhealthy");
  const parts = new Set([...circuits, ...failing].map(({ name }) => name));
  if (facts.storeAway) parts.add("store");
  return {
    level: parts.size === 0 ? "normal" : parts.size < SEVERE_FROM ? "partial" : "severe",
    parts: [...parts].toSorted(),
  };
}
