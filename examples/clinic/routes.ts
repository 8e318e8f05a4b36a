/** What the clinic offers. The same code with Paramedic and without: only the parts it is built from differ. */
import { EventEmitter, on } from "node:events";
import { TRPCError } from "@trpc/server";
import { and, asc, eq, gte } from "drizzle-orm";
import { z } from "zod";
import type { Answer } from "./assistant.js";
import type { ClinicQueries } from "./database.js";
import { appointments, type Note, notes } from "./schema.js";
import { t } from "./trpc.js";

export interface ClinicParts {
  readonly procedure: typeof t.procedure;
  ask(question: string): Promise<Answer>;
  readonly db: ClinicQueries;
  /** Runs `work` in one transaction: all of it or nothing. */
  transaction<T>(work: (tx: ClinicQueries) => T): Promise<T>;
}

const patientId = z.number().int().positive();
const booking = z.object({ patientId, doctor: z.string().min(1).max(100), startsAt: z.date() });

export function clinicRoutes({ procedure, ask, db, transaction }: ClinicParts) {
  const noteAdded = new EventEmitter();
  noteAdded.setMaxListeners(0);

  return {
    ask: procedure
      .input(z.object({ question: z.string().min(1).max(2_000) }))
      .query(({ input }) => ask(input.question)),

    appointments: t.router({
      list: procedure.input(z.object({ doctor: z.string().min(1).max(100), from: z.date() })).query(({ input }) =>
        db
          .select()
          .from(appointments)
          .where(and(eq(appointments.doctor, input.doctor), gte(appointments.startsAt, input.from.getTime())))
          .orderBy(asc(appointments.startsAt))
          .limit(20)
          .all(),
      ),

      book: procedure.input(booking).mutation(({ input }) =>
        transaction((tx) => {
          const startsAt = input.startsAt.getTime();
          const sameSlot = and(eq(appointments.doctor, input.doctor), eq(appointments.startsAt, startsAt));
          if (tx.select({ id: appointments.id }).from(appointments).where(sameSlot).get()) {
            throw new TRPCError({ code: "CONFLICT", message: "this slot is taken" });
          }
          return tx
            .insert(appointments)
            .values({ ...input, startsAt })
            .returning()
            .get();
        }),
      ),
    }),

    notes: t.router({
      add: procedure.input(z.object({ patientId, body: z.string().min(1).max(2_000) })).mutation(async ({ input }) => {
        const note = await transaction((tx) =>
          tx
            .insert(notes)
            .values({ ...input, createdAt: Date.now() })
            .returning()
            .get(),
        );
        noteAdded.emit("added", note);
        return note;
      }),

      /** Notes of one patient as they are added, for as long as the client listens. */
      added: procedure.input(z.object({ patientId })).subscription(async function* ({ input, signal }) {
        for await (const [note] of on(noteAdded, "added", { signal }) as AsyncIterable<[Note]>) {
          if (note.patientId === input.patientId) yield note;
        }
      }),
    }),
  };
}

/** What a client of the clinic may call, whichever way it was built. */
export type ClinicRouter = ReturnType<typeof routerOf>;

const routerOf = (parts: ClinicParts) => t.router(clinicRoutes(parts));
