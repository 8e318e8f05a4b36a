/** Failure events: query them, read one with what was done about it, resolve one. */
import { TRPCError } from "@trpc/server";
import { z } from "zod";
import { DETECTION_METHODS, FAILURE_CATEGORIES, FAILURE_TYPES, SEVERITIES } from "../../shared/failure.js";
import type { Clock } from "../ports/clock.js";
import type { FailureStore, RecoveryStore } from "../ports/store.js";
import { page, timeRange } from "./inputs.js";
import { type createProcedures, router } from "./procedures.js";

export function createFailuresRouter(
  { read, operate }: ReturnType<typeof createProcedures>,
  { clock, store }: { readonly clock: Clock; readonly store: FailureStore & RecoveryStore },
) {
  return router({
    /** Newest first. */
    list: read
      .input(
        z
          .object({
            failureCategory: z.enum(FAILURE_CATEGORIES),
            failureType: z.enum(FAILURE_TYPES),
            severity: z.enum(SEVERITIES),
            affectedService: z.string().min(1).max(200),
            detectionMethod: z.enum(DETECTION_METHODS),
            resolved: z.boolean(),
          })
          .partial()
          .extend({ ...timeRange.shape, ...page.shape })
          .strict()
          .prefault({}),
      )
      .query(({ input }) => store.listFailures(input)),

    /** One event with its recovery actions, newest first; the id of a repeat gives the event it was counted in. */
    get: read.input(z.object({ eventId }).strict()).query(async ({ input }) => {
      const failure = await store.getFailure(input.eventId);
      if (failure === undefined) throw notFound(input.eventId);
      const recoveries = await store.listRecoveries({ failureEventId: failure.eventId, limit: 200 });
      return { ...failure, recoveryActions: recoveries.items };
    }),

    resolve: operate("failure.resolve", (input) => String(input.eventId ?? ""))
      .input(z.object({ eventId }))
      .mutation(async ({ input }) => {
        const resolvedAt = clock.now();
        if (!(await store.resolveFailure(input.eventId, resolvedAt))) throw notFound(input.eventId);
        return { eventId: input.eventId, resolvedAt };
      }),
  });
}

const eventId = z.string().min(1).max(100);

function notFound(id: string): TRPCError {
  return new TRPCError({ code: "NOT_FOUND", message: `no open failure event with id ${JSON.stringify(id)}` });
}
