/** How an overloaded process refuses calls early: read at every call, so it is a plain property while there is room. */
import type { Criticality } from "../../shared/health.js";

/**
 * 0  every call is admitted
 * 1  optional ones are refused
 * 2  only critical ones are admitted
 */
export type LoadLevel = 0 | 1 | 2;

export interface LoadGate {
  readonly level: LoadLevel;
  /** Whether a call of this criticality is refused now; one that is, is counted. */
  refuses(criticality: Criticality): boolean;
  /** When asking again may make sense. */
  readonly retryAfterMs: number;
}

export const openGate: LoadGate = Object.freeze({ level: 0, refuses: () => false, retryAfterMs: 0 });
