/** Circuits: as this instance sees them now, and every transition that was kept. */
import { TRPCError } from "@trpc/server";
import { z } from "zod";
import { CIRCUIT_STATES, type CircuitSnapshot } from "../../shared/circuit.js";
import type { CircuitStore } from "../ports/store.js";
import { page, serviceName } from "./inputs.js";
import { type createProcedures, router } from "./procedures.js";

export function createCircuitsRouter(
  { read }: ReturnType<typeof createProcedures>,
  deps: { readonly store: CircuitStore; readonly circuits: () => readonly CircuitSnapshot[] },
) {
  return router({
    list: read.query(() => deps.circuits()),

    get: read.input(z.object({ name: serviceName }).strict()).query(({ input }) => {
      const found = deps.circuits().find((circuit) => circuit.name === input.name);
      if (found === undefined) {
        throw new TRPCError({ code: "NOT_FOUND", message: `no circuit named ${JSON.stringify(input.name)}` });
      }
      return found;
    }),

    /** Newest first; `from` included, `until` excluded. */
    transitions: read
      .input(
        z
          .object({
            circuitName: serviceName.optional(),
            to: z.enum(CIRCUIT_STATES).optional(),
            from: z.number().int().min(0).optional(),
            until: z.number().int().min(0).optional(),
            ...page.shape,
          })
          .strict()
          .prefault({}),
      )
      .query(({ input }) => deps.store.listTransitions(input)),
  });
}
