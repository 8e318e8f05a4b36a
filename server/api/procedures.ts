/** The procedures that every part of the API is built on: reading needs a role, operating a role and a reason. */
import { initTRPC, TRPCError } from "@trpc/server";
import { z } from "zod";
import type { Role } from "../../shared/access.js";
import { isParamedicError, type ParamedicErrorCode } from "../../shared/errors.js";
import { isJsonObject, type JsonObject } from "../../shared/failure.js";
import type { Clock } from "../ports/clock.js";
import type { AuditEntry, AuditStore } from "../ports/store.js";

/** What the procedures need of their surroundings. */
export interface AccessDeps {
  readonly clock: Clock;
  readonly store: AuditStore;
  /** Told of our own faults. Never throws. */
  readonly onFault: (error: unknown) => void;
  /** The role of a call by its context, and who it is for the audit. Never throws. */
  readonly access: (ctx: object) => Promise<{ readonly role: Role | undefined; readonly actor: string }>;
}

/**
 * The context is the host app's and is not checked when routers nest: nothing is read from it here. No transformer and no
 * formatter either: the outer router's apply.
 */
const t = initTRPC.context<object>().create();

export const router = t.router;
export const anonymousProcedure = t.procedure;

const reason = z.object({ reason: z.string().trim().min(1).max(500) });

/** Builds the two procedures for one Paramedic. */
export function createProcedures({ clock, store, access, onFault }: AccessDeps) {
  const read = t.procedure.use(async ({ ctx, next }) => {
    const { role, actor } = await access(ctx);
    if (role === undefined) throw denied("read");
    return translateStoreErrors(await next({ ctx: { paramedicActor: actor } }));
  });

  /**
   * Leaves an audit row before the effect and one with its outcome, a refusal's too. What cannot be audited does not
   * begin; an outcome that cannot be written is reported as our own fault, because the effect has happened.
   */
  const operate = (action: string, subjectOf: (input: JsonObject) => string) =>
    t.procedure.input(reason).use(async ({ ctx, getRawInput, input, next }) => {
      const { role, actor } = await access(ctx);
      const raw = await getRawInput();
      const subject = subjectOf(isJsonObject(raw) ? raw : {}).slice(0, 200);
      const audit = (outcome: AuditEntry["outcome"]) =>
        store.recordAudit({
          at: clock.now(),
          actor,
          action,
          subject,
          reason: input.reason,
          outcome,
          detail: undefined,
        });
      if (role !== "operate") {
        await audit("refused").catch(onFault);
        throw denied("operate");
      }
      await audit("requested").catch((error: unknown) => {
        throw storeErrorOf(error) ?? error;
      });
      const result = await next({ ctx: { paramedicActor: actor } });
      await audit(result.ok ? "succeeded" : "failed").catch(onFault);
      return translateStoreErrors(result);
    });

  return { read, operate };
}

function denied(role: Role): TRPCError {
  return new TRPCError({
    code: "FORBIDDEN",
    message: `this needs the role "${role}": authorize({ ctx }) did not grant it`,
  });
}

const STORE_AWAY: ReadonlySet<ParamedicErrorCode> = new Set([
  "STORE_UNAVAILABLE",
  "STORE_SCHEMA_NEWER",
  "STORE_CORRUPT",
  "CLOSED",
]);

function translateStoreErrors<Result extends { ok: boolean; error?: TRPCError }>(result: Result): Result {
  const translated = result.ok ? undefined : storeErrorOf(result.error?.cause);
  if (translated !== undefined) throw translated;
  return result;
}

/** A store that is away is SERVICE_UNAVAILABLE to a client, a cursor it cannot read is BAD_REQUEST; neither is our bug. */
function storeErrorOf(cause: unknown): TRPCError | undefined {
  if (isParamedicError(cause) && STORE_AWAY.has(cause.code)) {
    return new TRPCError({ code: "SERVICE_UNAVAILABLE", message: "the store cannot be reached", cause });
  }
  if (isParamedicError(cause, "STORE_REQUEST_INVALID")) {
    return new TRPCError({ code: "BAD_REQUEST", message: cause.message, cause });
  }
  return undefined;
}
