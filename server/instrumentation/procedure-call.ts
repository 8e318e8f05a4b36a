/**
 * One running call as guards below it see it: who asked, and how long he waits, is read from the context and the procedure's
 * meta only when somebody wants to know.
 */
import { readProperty } from "../../shared/error-facts.js";
import type { ProcedureType } from "../../shared/outcome.js";
import { boundText } from "../../shared/redaction.js";
import { MAX_TIMER_MS } from "../../shared/units.js";
import type { CallContext, CallInfo } from "../ports/call-context.js";

/** Who made a call, for its failures, and how long he waits for its end. */
export interface CallIdentity {
  readonly userId?: string | undefined;
  readonly requestId?: string | undefined;
  /** From the call's begin; 1 to 2^31-1 ms. */
  readonly timeoutMs?: number | undefined;
}

/** Reads the app's own context. May throw: then nobody is named. */
export type Identify = (ctx: unknown) => CallIdentity | undefined;

/** What is known when a call begins. */
export interface CallBegin {
  readonly path: string;
  readonly type: ProcedureType;
  readonly signal: AbortSignal | undefined;
  /** The app's own context; read by `identify` alone. */
  readonly ctx: unknown;
  /** Of the procedure: `{ paramedic: { timeoutMs, idempotent } }` is read. */
  readonly meta?: unknown;
}

const ID_LENGTH = 200;

export class ProcedureCall implements CallInfo {
  readonly path: string;
  readonly type: ProcedureType;
  readonly signal: AbortSignal | undefined;
  readonly ctx: unknown;
  readonly causes: string[] = [];
  readonly #meta: unknown;
  readonly #startedAt: number;
  readonly #outer: CallInfo | undefined;
  readonly #identify: Identify | undefined;
  #identity: CallIdentity | undefined;
  #deadlineAt: number | undefined | "unread" = "unread";

  /** @param startedAt monotonic milliseconds */
  constructor(
    begin: CallBegin,
    startedAt: number,
    deps: { readonly identify?: Identify | undefined; readonly callContext: Pick<CallContext, "current"> },
  ) {
    this.path = begin.path;
    this.type = begin.type;
    this.signal = begin.signal;
    this.ctx = begin.ctx;
    this.#meta = begin.meta;
    this.#startedAt = startedAt;
    this.#outer = deps.callContext.current();
    this.#identify = deps.identify;
  }

  get requestId(): string | undefined {
    return this.#caller.requestId;
  }

  get userId(): string | undefined {
    return this.#caller.userId;
  }

  /** The earliest of what the procedure says, what the request says, and the deadline of the call that made this call. */
  get deadlineAt(): number | undefined {
    if (this.#deadlineAt === "unread") this.#deadlineAt = this.#earliestDeadline();
    return this.#deadlineAt;
  }

  get idempotent(): boolean | undefined {
    const said = readProperty(readProperty(this.#meta, "paramedic"), "idempotent");
    return typeof said === "boolean" ? said : undefined;
  }

  get #caller(): CallIdentity {
    this.#identity ??= identityOf(this.ctx, this.#identify);
    return this.#identity;
  }

  #earliestDeadline(): number | undefined {
    const ofProcedure = readProperty(readProperty(this.#meta, "paramedic"), "timeoutMs");
    const times = [ofProcedure, this.#caller.timeoutMs].filter(isTimeoutMs);
    const deadlines = times.map((timeoutMs) => this.#startedAt + timeoutMs);
    if (this.#outer?.deadlineAt !== undefined) deadlines.push(this.#outer.deadlineAt);
    return deadlines.length === 0 ? undefined : Math.min(...deadlines);
  }
}

/** Ids as bounded text, whatever `identify` gives; none where it throws. */
export function identityOf(ctx: unknown, identify: Identify | undefined): CallIdentity {
  if (identify === undefined) return {};
  try {
    const identity = identify(ctx);
    return {
      userId: idText(identity?.userId),
      requestId: idText(identity?.requestId),
      timeoutMs: identity?.timeoutMs,
    };
  } catch {
    return {};
  }
}

function idText(id: unknown): string | undefined {
  return typeof id === "string" || typeof id === "number" ? boundText(String(id), ID_LENGTH) : undefined;
}

function isTimeoutMs(value: unknown): value is number {
  return typeof value === "number" && value >= 1 && value <= MAX_TIMER_MS;
}
