/** Recovery actions: what was tried and what came of it, and what an operator may do about recovery by hand. */
import { TRPCError } from "@trpc/server";
import { z } from "zod";
import { FAILURE_TYPES } from "../../shared/failure.js";
import { ACTION_STATUSES, type RecoveryAction } from "../../shared/recovery.js";
import type { ControlOutcome, ControlRefusal, OperatorControl } from "../ports/operator-control.js";
import type { RecoveryStore } from "../ports/store.js";
import { page, serviceName, timeRange } from "./inputs.js";
import { type createProcedures, router } from "./procedures.js";

const actionId = z.string().min(1).max(100);
const one = z.object({ actionId });
const strategyName = z.string().min(1).max(100);
const about = z.union([
  z.object({ failureEventId: z.string().min(1).max(100) }),
  z.object({ service: serviceName, failureType: z.enum(FAILURE_TYPES) }),
]);

const text = (value: unknown) => (typeof value === "string" ? value : "");

export function createRecoveriesRouter(
  { read, operate }: ReturnType<typeof createProcedures>,
  { store, recovery }: { readonly store: RecoveryStore; readonly recovery: OperatorControl },
) {
  return router({
    /** Newest first. */
    list: read
      .input(
        z
          .object({
            failureEventId: z.string().min(1).max(100),
            actionStrategy: z.string().min(1).max(100),
            status: z.enum(ACTION_STATUSES),
            target: serviceName,
          })
          .partial()
          .extend({ ...timeRange.shape, ...page.shape })
          .strict()
          .prefault({}),
      )
      .query(({ input }) => store.listRecoveries(input)),

    get: read.input(one.strict()).query(async ({ input }) => {
      const action = await store.getRecovery(input.actionId);
      if (action === undefined) throw refusalOf("unknown", `there is no recovery action ${input.actionId}`);
      return action;
    }),

    /**
     * What would be done about a stored failure, or about a kind of failure of a service, if it landed now: steps by level,
     * why the others not, and whether anything speaks against a repair. Changes nothing.
     */
    preview: operate(
      "recovery.preview",
      ({ failureEventId, service, failureType }) => text(failureEventId) || `${text(service)} ${text(failureType)}`,
    )
      .input(about)
      .mutation(async ({ input }) => {
        const preview = await recovery.preview(input);
        if (preview === undefined) throw refusalOf("unknown", "there is no failure event of that id");
        return preview;
      }),

    /** Repairs a service by one strategy now, whatever was done lately, and gives the row once the repair has ended. */
    trigger: operate("recovery.trigger", ({ service, strategy }) => `${text(strategy)} of ${text(service)}`)
      .input(z.object({ service: serviceName, strategy: strategyName }))
      .mutation(async ({ ctx, input: { service, strategy, reason } }) =>
        actionOf(await recovery.trigger({ service, strategy, reason, by: ctx.paramedicActor })),
      ),

    /** Says yes to a repair that waits, and gives the row once it has ended. */
    approve: operate("recovery.approve", (input) => text(input.actionId))
      .input(one)
      .mutation(async ({ ctx, input }) =>
        actionOf(await recovery.approve({ actionId: input.actionId, by: ctx.paramedicActor })),
      ),

    /** Lets a repair that waits be, or waits no longer for one that this instance is carrying out. */
    cancel: operate("recovery.cancel", (input) => text(input.actionId))
      .input(one)
      .mutation(async ({ ctx, input: { actionId, reason } }) =>
        actionOf(await recovery.cancel({ actionId, reason, by: ctx.paramedicActor })),
      ),
  });
}

function actionOf(outcome: ControlOutcome): RecoveryAction {
  if (outcome.done) return outcome.action;
  throw refusalOf(outcome.reason, outcome.message);
}

/** What a client can do about it is in the code; why is in the message. */
function refusalOf(reason: ControlRefusal, message: string): TRPCError {
  return new TRPCError({ code: CODES[reason], message: `${reason}: ${message}` });
}

const CODES = {
  unknown: "NOT_FOUND",
  not_a_repair: "BAD_REQUEST",
  disabled: "PRECONDITION_FAILED",
  policy: "FORBIDDEN",
  maintenance: "PRECONDITION_FAILED",
  outside_hours: "PRECONDITION_FAILED",
  stopped: "PRECONDITION_FAILED",
  mode: "PRECONDITION_FAILED",
  busy: "CONFLICT",
  not_pending: "CONFLICT",
  elsewhere: "CONFLICT",
} as const satisfies Record<ControlRefusal, TRPCError["code"]>;
