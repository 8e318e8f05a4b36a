/** Circuits: as this instance sees them now, every transition that was kept, and what an operator may do with them. */
import { TRPCError } from "@trpc/server";
import { z } from "zod";
import {
  CIRCUIT_STATES,
  type CircuitHold,
  type CircuitSharing,
  type CircuitSnapshot,
  HELD_STATES,
} from "../../shared/circuit.js";
import { DAY_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type { CircuitStore } from "../ports/store.js";
import { page, serviceName } from "./inputs.js";
import { type createProcedures, router } from "./procedures.js";

/** A circuit as this instance sees it, and how it gets along with the others about it. */
export interface CircuitView extends CircuitSnapshot {
  readonly sharing: CircuitSharing;
  /** Open in this instance alone, for a whole quorum window: what it sees says more of itself than of the service. */
  readonly poisoned: boolean;
  /** Open, but letting calls pass, because too many circuits opened at once. */
  readonly beyondPanic: boolean;
}

export interface CircuitControl {
  /** Places a hold everywhere, or releases it. */
  hold(name: string, hold: CircuitHold | undefined): Promise<void>;
  /** Closes the circuit everywhere. Undefined when nobody knows one of that name. */
  reset(name: string): Promise<{ readonly stored: boolean } | undefined>;
}

export interface CircuitsDeps {
  readonly clock: Clock;
  readonly store: CircuitStore;
  readonly circuits: () => readonly CircuitView[];
  readonly control: CircuitControl;
}

const named = z.object({ name: serviceName });
const nameOf = ({ name }: { readonly name?: unknown }) => (typeof name === "string" ? name : "");

export function createCircuitsRouter({ read, operate }: ReturnType<typeof createProcedures>, deps: CircuitsDeps) {
  return router({
    list: read.query(() => deps.circuits()),

    get: read.input(named.strict()).query(({ input }) => {
      const found = deps.circuits().find((circuit) => circuit.name === input.name);
      if (found === undefined) throw notFound(input.name);
      return found;
    }),

    /**
     * Holds a circuit in all instances, also one that nobody has met yet: `forced_open` refuses its calls, `disabled` lets
     * them pass uncounted, `metrics_only` lets them pass counted. `forMs` is up to a year; without it the hold stays until it
     * is released.
     */
    hold: operate("circuit.hold", nameOf)
      .input(
        named.extend({
          state: z.enum(HELD_STATES),
          forMs: z.number().int().min(1).max(MOST_HOLD_MS).optional(),
        }),
      )
      .mutation(async ({ ctx, input }) => {
        const { name, state, reason, forMs } = input;
        const until = forMs === undefined ? undefined : deps.clock.now() + forMs;
        const hold: CircuitHold = { state, by: ctx.paramedicActor, reason, until };
        await deps.control.hold(name, hold);
        return { name, held: hold };
      }),

    /** Ends a hold in all instances; without one it changes nothing. */
    release: operate("circuit.release", nameOf)
      .input(named)
      .mutation(async ({ input }) => {
        await deps.control.hold(input.name, undefined);
        return { name: input.name };
      }),

    /** Closes a circuit in all instances and empties its window; `stored` says whether the others can know by now. */
    reset: operate("circuit.reset", nameOf)
      .input(named)
      .mutation(async ({ input }) => {
        const result = await deps.control.reset(input.name);
        if (result === undefined) throw notFound(input.name);
        return { name: input.name, ...result };
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

const MOST_HOLD_MS = 365 * DAY_MS;

function notFound(name: string): TRPCError {
  return new TRPCError({ code: "NOT_FOUND", message: `no circuit named ${JSON.stringify(name)}` });
}
