/** The state of each circuit, and how it came to be. */
import { boolean, index, pgTable, primaryKey, text, uniqueIndex } from "drizzle-orm/pg-core";
import { CIRCUIT_STATES, HELD_STATES, TRANSITION_REASONS } from "../../../shared/circuit.js";
import type { CircuitConfig } from "../../../shared/circuit-config.js";
import { bigint, cleanText, identity, jsonText } from "../columns.js";

export const circuitBreakerStates = pgTable("circuit_breaker_states", {
  id: identity("id"),
  circuitName: cleanText("circuit_name").notNull().unique(),
  state: text("state", { enum: CIRCUIT_STATES }).notNull(),
  failureCount: bigint("failure_count").notNull(),
  successCount: bigint("success_count").notNull(),
  lastFailureAt: bigint("last_failure_at"),
  lastSuccessAt: bigint("last_success_at"),
  openedAt: bigint("opened_at"),
  nextRetryAt: bigint("next_retry_at"),
  configuration: jsonText<CircuitConfig>("configuration").notNull(),
  updatedAt: bigint("updated_at").notNull(),
  createdAt: bigint("created_at").notNull(),
  /** Rises with every transition: the instance that writes the next one wins, the others adopt it. */
  version: bigint("version").notNull(),
  heldState: text("held_state", { enum: HELD_STATES }),
  heldBy: cleanText("held_by"),
  heldReason: cleanText("held_reason"),
  heldUntil: bigint("held_until"),
  /** The instance that may probe while the circuit is half open, and until when. */
  probeLeaseOwner: cleanText("probe_lease_owner"),
  probeLeaseUntil: bigint("probe_lease_until"),
});

/** Append-only. */
export const circuitTransitions = pgTable(
  "circuit_transitions",
  {
    id: identity("id"),
    circuitName: cleanText("circuit_name").notNull(),
    from: text("from_state", { enum: CIRCUIT_STATES }).notNull(),
    to: text("to_state", { enum: CIRCUIT_STATES }).notNull(),
    reason: text("reason", { enum: TRANSITION_REASONS }).notNull(),
    version: bigint("version").notNull(),
    at: bigint("at").notNull(),
    instance: cleanText("instance").notNull(),
    /** Of the stored event once its failure is stored; no foreign key, because the circuit moves before that. */
    failureEventId: cleanText("failure_event_id"),
  },
  (table) => [
    // Was this transition written before?
    uniqueIndex("circuit_transitions_version").on(table.circuitName, table.version),
    // Newest first, within a time range; retention.
    index("circuit_transitions_at").on(table.at),
    // Each filter of the list, newest first.
    index("circuit_transitions_circuit_name").on(table.circuitName, table.at),
    index("circuit_transitions_to_state").on(table.to, table.at),
    // The transitions that one failure caused.
    index("circuit_transitions_failure_event_id").on(table.failureEventId),
  ],
);

/** What each instance that uses a circuit thinks of it: where a quorum decides, these are its votes. */
export const circuitOpinions = pgTable(
  "paramedic_circuit_opinions",
  {
    circuitName: cleanText("circuit_name").notNull(),
    instance: cleanText("instance").notNull(),
    failing: boolean("failing").notNull(),
    /** Afterwards it counts no more. */
    until: bigint("until").notNull(),
  },
  (table) => [
    // Who thinks what of one circuit.
    primaryKey({ columns: [table.circuitName, table.instance] }),
    // Opinions that count no more.
    index("paramedic_circuit_opinions_until").on(table.until),
  ],
);
