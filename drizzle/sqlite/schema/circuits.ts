/** The state of each circuit, and how it came to be. */
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import { CIRCUIT_STATES, HELD_STATES, TRANSITION_REASONS } from "../../../shared/circuit.js";
import type { CircuitConfig } from "../../../shared/circuit-config.js";

export const circuitBreakerStates = sqliteTable("circuit_breaker_states", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  circuitName: text("circuit_name").notNull().unique(),
  state: text("state", { enum: CIRCUIT_STATES }).notNull(),
  failureCount: integer("failure_count").notNull(),
  successCount: integer("success_count").notNull(),
  lastFailureAt: integer("last_failure_at"),
  lastSuccessAt: integer("last_success_at"),
  openedAt: integer("opened_at"),
  nextRetryAt: integer("next_retry_at"),
  configuration: text("configuration", { mode: "json" }).$type<CircuitConfig>().notNull(),
  updatedAt: integer("updated_at").notNull(),
  createdAt: integer("created_at").notNull(),
  /** Rises with every transition: the instance that writes the next one wins, the others adopt it. */
  version: integer("version").notNull(),
  heldState: text("held_state", { enum: HELD_STATES }),
  heldBy: text("held_by"),
  heldReason: text("held_reason"),
  heldUntil: integer("held_until"),
  /** The instance that may probe while the circuit is half open, and until when. */
  probeLeaseOwner: text("probe_lease_owner"),
  probeLeaseUntil: integer("probe_lease_until"),
});

/** Append-only. */
export const circuitTransitions = sqliteTable(
  "circuit_transitions",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    circuitName: text("circuit_name").notNull(),
    from: text("from_state", { enum: CIRCUIT_STATES }).notNull(),
    to: text("to_state", { enum: CIRCUIT_STATES }).notNull(),
    reason: text("reason", { enum: TRANSITION_REASONS }).notNull(),
    version: integer("version").notNull(),
    at: integer("at").notNull(),
    instance: text("instance").notNull(),
    /** Of the stored event once its failure is stored; no foreign key, because the circuit moves before that. */
    failureEventId: text("failure_event_id"),
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
export const circuitOpinions = sqliteTable(
  "paramedic_circuit_opinions",
  {
    circuitName: text("circuit_name").notNull(),
    instance: text("instance").notNull(),
    failing: integer("failing", { mode: "boolean" }).notNull(),
    /** Afterwards it counts no more. */
    until: integer("until").notNull(),
  },
  (table) => [
    // Who thinks what of one circuit.
    primaryKey({ columns: [table.circuitName, table.instance] }),
    // Opinions that count no more.
    index("paramedic_circuit_opinions_until").on(table.until),
  ],
);
