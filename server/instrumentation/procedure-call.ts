/** One running call as guards below it see it: who asked is read from the context only when somebody wants to know. */

import type { ProcedureType } from "../../shared/outcome.js";
import { boundText } from "../../shared/redaction.js";
import type { CallInfo } from "../ports/call-context.js";

/** Who made a call, for its failures. */
export interface CallIdentity {
  readonly userId?: string | undefined;
  readonly requestId?: string | undefined;
}

/** Reads the app's own context. May throw: then nobody is named. */
export type Identify = (ctx: unknown) => CallIdentity | undefined;

const ID_LENGTH = 200;

export class ProcedureCall implements CallInfo {
  readonly deadlineAt = undefined;
  readonly causes: string[] = [];
  #identity: CallIdentity | undefined;

  constructor(
    readonly path: string,
    readonly type: ProcedureType,
    readonly signal: AbortSignal | undefined,
    /** The app's own context; read by `identify` alone. */
    readonly ctx: unknown,
    private readonly identify: Identify | undefined,
  ) {}

  get requestId(): string | undefined {
    return this.identity.requestId;
  }

  get userId(): string | undefined {
    return this.identity.userId;
  }

  private get identity(): CallIdentity {
    this.#identity ??= identityOf(this.ctx, this.identify);
    return this.#identity;
  }
}

/** Ids as bounded text, whatever `identify` gives; none where it throws. */
export function identityOf(ctx: unknown, identify: Identify | undefined): CallIdentity {
  if (identify === undefined) return {};
  try {
    const identity = identify(ctx);
    return { userId: idText(identity?.userId), requestId: idText(identity?.requestId) };
  } catch {
    return {};
  }
}

function idText(id: unknown): string | undefined {
  return typeof id === "string" || typeof id === "number" ? boundText(String(id), ID_LENGTH) : undefined;
}
