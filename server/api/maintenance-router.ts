/** Maintenance windows: operators announce work on services, and repairs of them rest meanwhile. */
import { TRPCError } from "@trpc/server";
import { z } from "zod";
import { DAY_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type { MaintenanceControl } from "../ports/maintenance.js";
import type { MaintenanceStore } from "../ports/maintenance-store.js";
import { page, serviceName, timestamp } from "./inputs.js";
import { type createProcedures, router } from "./procedures.js";

export interface MaintenanceRouterDeps {
  readonly clock: Clock;
  readonly store: Pick<MaintenanceStore, "listMaintenance">;
  readonly maintenance: MaintenanceControl;
}

const LONGEST_MS = 30 * DAY_MS;

export function createMaintenanceRouter(
  { read, operate }: ReturnType<typeof createProcedures>,
  { clock, store, maintenance }: MaintenanceRouterDeps,
) {
  return router({
    /** In force or to come, those that end last first; `all`: also those that are over. */
    list: read
      .input(
        z
          .object({ all: z.boolean().default(false), limit: page.shape.limit })
          .strict()
          .prefault({}),
      )
      .query(({ input }) =>
        store.listMaintenance({ endsAfter: input.all ? undefined : clock.now(), limit: input.limit }),
      ),

    /** Begins at once where nothing else is said, and lasts `forMs`. */
    announce: operate("maintenance.announce", ({ services }) => (Array.isArray(services) ? services.join(" ") : ""))
      .input(
        z.object({
          services: z.array(serviceName).min(1).max(100),
          startsAt: timestamp.optional(),
          forMs: z.number().int().min(1).max(LONGEST_MS),
        }),
      )
      .mutation(({ ctx, input }) => {
        const { services, reason, forMs, startsAt = clock.now() } = input;
        return maintenance.announce({
          services,
          reason,
          createdBy: ctx.paramedicActor,
          startsAt,
          endsAt: startsAt + forMs,
        });
      }),

    /** Ends a window before its time. */
    end: operate("maintenance.end", ({ windowId }) => (typeof windowId === "string" ? windowId : ""))
      .input(z.object({ windowId: z.string().min(1).max(100) }))
      .mutation(async ({ input: { windowId } }) => {
        if (await maintenance.end(windowId)) return { windowId };
        throw new TRPCError({
          code: "NOT_FOUND",
          message: `no maintenance window ${JSON.stringify(windowId)} that could still end`,
        });
      }),
  });
}
