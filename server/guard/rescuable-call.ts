/** A guarded call as its rescue sees it: what happened so far, what may still be asked, and where to write it down. */
import type { Failure } from "../../shared/failure.js";
import type { ModePermits } from "../../shared/mode.js";
import type { CallInfo } from "../ports/call-context.js";
import type { CallRecord } from "./call-record.js";
import type { GuardEngine } from "./guard-engine.js";
import type { GuardError, GuardErrorReason } from "./guard-error.js";
import type { GuardedService } from "./guarded-service.js";
import type { FallbackFunction } from "./operation.js";
import type { TargetTraits } from "./run.js";

/** What stays the same from call to call. */
export interface Work {
  /** Of an operation; undefined for a guard's own work. */
  readonly name: string | undefined;
  /** In order of preference. */
  readonly services: readonly [GuardedService, ...GuardedService[]];
  /** One for each service, where anything is said about the targets. */
  readonly traits?: readonly TargetTraits[] | undefined;
  readonly fallback: FallbackFunction | undefined;
  readonly idempotent: boolean | undefined;
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

export interface RescuableCall {
  readonly engine: GuardEngine;
  readonly work: Work;
  /** The tRPC call it belongs to. */
  readonly info: CallInfo | undefined;
  /** Attempts that really asked a service. */
  readonly attempts: number;
  /** What an attempt ended with last, as against what was refused at the door. */
  readonly lastThrown: { readonly error: unknown } | undefined;
  readonly record: CallRecord;
  /** The target asked last. */
  readonly service: GuardedService;
  /** The caller's signal, once it has aborted. */
  readonly gone: AbortSignal | undefined;
  readonly idempotent: boolean;
  /** Proof that no attempt has begun its work. */
  readonly nothingSent: boolean;
  readonly outputDelivered: boolean;
  /** A guard around this one may run this work again, so this one does not. */
  readonly nested: boolean;
  permits(service: GuardedService): ModePermits;
  remainingMs(): number;
  /** How long a rescue may take from now, whatever the deadline says. */
  graceMs(): number;
  /** Targets that were not asked yet and would be in time. */
  targetsLeft(): number;
  /** The caller's own, beside the call's. */
  readonly signal: AbortSignal | undefined;
  /** Targets that take turns once every one was asked, the present one included where its budget can pay; at least 1. */
  targetsInTurn(): number;
  /** Some target that is asked again can pay for it. */
  readonly canRetry: boolean;
  /** Runs the present target again, or the one whose turn it is. */
  again(how: { readonly delayMs: number; readonly inTurn: boolean }, signal: AbortSignal): Promise<unknown>;
  /** Runs the next target that admits the call, or will in time. */
  next(signal: AbortSignal): Promise<unknown>;
  fallback(failure: Failure): Promise<unknown>;
  /** A strategy answered from its own means, without any target. */
  answered(): void;
  refusal(reason: GuardErrorReason, why: string): GuardError;
}
