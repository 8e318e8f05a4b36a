/** Recovery actions: what was tried, by which strategy, and what came of it. */
import { z } from "zod";
import { ACTION_STATUSES } from "../../shared/recovery.js";
import type { RecoveryStore } from "../ports/store.js";
import { page, serviceName, timeRange } from "./inputs.js";
import { type createProcedures, router } from "./procedures.js";

export function createRecoveriesRouter(
  { read }: ReturnType<typeof createProcedures>,
  { store }: { readonly store: RecoveryStore },
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
  });
}
