/** One caller's piece of work as it was asked for: what it was given, and what follows from that alone. */
import { type ModePermits, permitsOf } from "../../shared/mode.js";
import type { CallInfo } from "../ports/call-context.js";
import { AttemptCall } from "./attempt-call.js";
import type { GuardEngine } from "./guard-engine.js";
import type { GuardedService } from "./guarded-service.js";
import { isIdempotent } from "./idempotency.js";
import type { TargetFunction } from "./operation.js";
import type { Work } from "./rescuable-call.js";

export type TargetFunctions = readonly [TargetFunction, ...TargetFunction[]];

export class AskedWork {
  readonly engine: GuardEngine;
  readonly work: Work;
  /** One for each service of `work`. */
  readonly functions: TargetFunctions;
  readonly args: readonly unknown[];
  /** The tRPC call it belongs to. */
  readonly info: CallInfo | undefined;
  /** Monotonic. */
  readonly startedAt: number;
  /** Monotonic; `Infinity` where there is no deadline. */
  readonly deadlineAt: number;

  constructor(
    engine: GuardEngine,
    work: Work,
    functions: TargetFunctions,
    args: readonly unknown[],
    info: CallInfo | undefined,
    startedAt: number,
  ) {
    this.engine = engine;
    this.work = work;
    this.functions = functions;
    this.args = args;
    this.info = info;
    this.startedAt = startedAt;
    const ownDeadlineAt = startedAt + (work.timeoutMs ?? Number.POSITIVE_INFINITY);
    this.deadlineAt = Math.min(ownDeadlineAt, info?.deadlineAt ?? Number.POSITIVE_INFINITY);
  }

  /** The caller's own. */
  get signal(): AbortSignal | undefined {
    return this.work.signal;
  }

  /** The caller's signal, once it has aborted. */
  get gone(): AbortSignal | undefined {
    if (this.info?.signal?.aborted) return this.info.signal;
    return this.work.signal?.aborted ? this.work.signal : undefined;
  }

  get idempotent(): boolean {
    const { work, info } = this;
    const services = work.services.map(({ name, policy }) => ({ name, idempotent: policy.idempotent }));
    return isIdempotent(work.idempotent, services, info);
  }

  /** A guard around this one may run this work again, so this one does not. */
  get nested(): boolean {
    return this.info instanceof AttemptCall && this.info.runsAgain;
  }

  /** The mode and the flags let `service` be rescued. */
  mayRescue(service: GuardedService): boolean {
    return this.engine.flags.autoRecovery && this.permits(service).rescues;
  }

  permits(service: GuardedService): ModePermits {
    const { settings, limitedServices } = this.engine;
    return permitsOf(settings.mode(), service.name, limitedServices);
  }

  remainingMs(): number {
    return this.deadlineAt - this.engine.clock.monotonic();
  }
}
