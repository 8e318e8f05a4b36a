/** Settings: what is in force and why, every change, and an operator's own changes. */
import { TRPCError } from "@trpc/server";
import { z } from "zod";
import { MODES } from "../../shared/mode.js";
import { LIVE_FLAGS, SETTING_NAMES } from "../../shared/settings.js";
import type { SettingsControl } from "../ports/settings.js";
import type { SettingsStore } from "../ports/settings-store.js";
import { page } from "./inputs.js";
import { type createProcedures, router } from "./procedures.js";

export interface SettingsDeps {
  readonly store: SettingsStore;
  readonly settings: SettingsControl;
}

const version = z.object({ expectedVersion: z.number().int().min(0).optional() });

/** Null takes a setting back to what environment and code say. */
const change = z.discriminatedUnion("name", [
  version.extend({ name: z.literal("mode"), value: z.enum(MODES).nullable() }),
  version.extend({ name: z.enum(LIVE_FLAGS), value: z.boolean().nullable() }),
  version.extend({ name: z.enum(["emergency_stop", "safety_mode"]), value: z.boolean() }),
]);

export function createSettingsRouter({ read, operate }: ReturnType<typeof createProcedures>, deps: SettingsDeps) {
  return router({
    /** What is in force in this instance, with where it comes from and how old that knowledge is. Asks no store. */
    list: read.query(() => deps.settings.view()),

    /** Newest first. */
    history: read
      .input(
        z
          .object({ name: z.enum(SETTING_NAMES).optional(), ...page.shape })
          .strict()
          .prefault({}),
      )
      .query(({ input }) => deps.store.listSettingChanges(input)),

    /**
     * Changes one setting in all instances within a second: `mode` and flags under the environment's ceiling, `emergency_stop`
     * and `safety_mode`. With `expectedVersion` the second of two who changed the same one is told (`CONFLICT`).
     */
    set: operate("settings.set", ({ name }) => (typeof name === "string" ? name : ""))
      .input(change)
      .mutation(async ({ ctx, input }) => {
        const { name, value, reason, expectedVersion } = input;
        const ceiling = deps.settings.view().settings.find((setting) => setting.name === name)?.ceiling;
        if (value !== null && isAbove(value, ceiling)) throw above(name, value, ceiling);
        const { committed, stored } = await deps.settings.change({
          name,
          value: value ?? undefined,
          reason,
          changedBy: ctx.paramedicActor,
          expectedVersion,
        });
        if (committed) return stored;
        throw new TRPCError({
          code: "CONFLICT",
          message: `${name} was changed meanwhile by ${stored?.changedBy ?? "nobody"}: it is at version ${stored?.version ?? 0}; look again before you change it`,
        });
      }),
  });
}

function isAbove(value: unknown, ceiling: unknown): boolean {
  if (ceiling === false) return value === true;
  const order: readonly unknown[] = MODES;
  const place = (mode: unknown) => order.indexOf(mode);
  return place(ceiling) >= 0 && place(value) > place(ceiling);
}

function above(name: string, value: unknown, ceiling: unknown): TRPCError {
  return new TRPCError({
    code: "BAD_REQUEST",
    message: `${name} cannot be ${String(value)}: the environment allows ${String(ceiling)} at most`,
  });
}
