/** What guards and middlewares saw and did, appended synchronously to a bounded buffer; the engine turns it into rows. */
import type { CircuitTransition } from "../../shared/circuit.js";
import type { Failure, JsonObject } from "../../shared/failure.js";
import type { ActionStatus, ActionType, StrategyScope } from "../../shared/recovery.js";

/** One rescue by one strategy, or what a guard did for everybody by itself, once it ended. */
export interface RescueRecord {
  /** Of the failure it answers. */
  readonly failureEventId: string;
  /** When it ended, UTC milliseconds; it began `durationMs` earlier. */
  readonly timestamp: number;
  readonly actionType: ActionType;
  readonly actionStrategy: string;
  readonly status: Extract<ActionStatus, "succeeded" | "failed" | "skipped" | "timed_out" | "cancelled">;
  readonly target: string;
  readonly durationMs: number;
  readonly message: string;
  readonly metadata: JsonObject | undefined;
  readonly dryRun: boolean;
  /** @default "call" */
  readonly scope?: StrategyScope | undefined;
}

export type JournalEntry =
  | { readonly type: "failure.observed"; readonly failure: Failure; readonly rescued: boolean }
  | { readonly type: "rescue.ended"; readonly rescue: RescueRecord }
  | { readonly type: "circuit.transitioned"; readonly transition: CircuitTransition };

export interface Journal {
  /** Never throws and never waits. What does not fit is counted as dropped. */
  append(entry: JournalEntry): void;
}

export const noJournal: Journal = Object.freeze({ append() {} });
