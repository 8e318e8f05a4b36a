/** Plays the users: makes each planned call when it is due and writes down what came of it. */
import { setTimeout as wait } from "node:timers/promises";
import { createTRPCClient, httpBatchLink, TRPCClientError } from "@trpc/client";
import superjson from "superjson";
import type { ClinicRouter } from "../clinic/routes.js";
import type { Call, PlannedCall } from "./planned-calls.js";
import type { UserCall } from "./user-calls.js";

export interface UsersOptions {
  /** Of the clinic, without a path. */
  readonly url: string;
  /** After this long a user gives up. */
  readonly userDeadlineMs: number;
  /** Told of each call once it ended. */
  readonly onEnded: (call: Omit<UserCall, "run">) => void;
}

export interface Users {
  /** Makes the calls as fast as they are answered, a few at a time. */
  fewAtATime(calls: readonly PlannedCall[]): Promise<void>;
  /** Makes each call when it is due, whether or not earlier ones have ended; resolves when all have. */
  whenDue(calls: readonly PlannedCall[]): Promise<void>;
}

const A_FEW = 5;

export function createUsers({ url, userDeadlineMs, onEnded }: UsersOptions): Users {
  const client = createTRPCClient<ClinicRouter>({
    links: [httpBatchLink({ url: `${url}/trpc`, transformer: superjson })],
  });

  const make = async ({ call, phase }: PlannedCall) => {
    const startedAt = Date.now();
    const start = performance.now();
    const seen = await seenByUser(client, call, userDeadlineMs);
    onEnded({ phase, procedure: call.procedure, startedAt, durationMs: performance.now() - start, ...seen });
  };

  return Object.freeze({
    async fewAtATime(calls: readonly PlannedCall[]) {
      for (let next = 0; next < calls.length; next += A_FEW) {
        await Promise.all(calls.slice(next, next + A_FEW).map(make));
      }
    },
    async whenDue(calls: readonly PlannedCall[]) {
      const began = performance.now();
      const running: Promise<void>[] = [];
      for (const planned of calls) {
        const early = planned.atMs - (performance.now() - began);
        if (early > 0) await wait(early);
        running.push(make(planned));
      }
      await Promise.all(running);
    },
  });
}

type Client = ReturnType<typeof createTRPCClient<ClinicRouter>>;
type Seen = Pick<UserCall, "outcome" | "errorCode" | "answeredBy">;

async function seenByUser(client: Client, call: Call, userDeadlineMs: number): Promise<Seen> {
  const patience = new AbortController();
  try {
    const result = await Promise.race([
      callOnce(client, call, patience.signal),
      wait(userDeadlineMs, GAVE_UP, { signal: patience.signal }),
    ]);
    if (result === GAVE_UP) return { outcome: "failed", errorCode: "GAVE_UP" };
    return { outcome: "answered", answeredBy: result };
  } catch (error) {
    const status = error instanceof TRPCClientError ? error.data?.httpStatus : undefined;
    const refused = typeof status === "number" && status < 500;
    const code = error instanceof TRPCClientError ? error.data?.code : undefined;
    return { outcome: refused ? "refused" : "failed", errorCode: typeof code === "string" ? code : "NO_ANSWER" };
  } finally {
    patience.abort();
  }
}

const GAVE_UP = Symbol("gave up");

/** Resolves with who answered a question, or undefined for everything else. */
async function callOnce(client: Client, call: Call, signal: AbortSignal): Promise<string | undefined> {
  switch (call.procedure) {
    case "ask":
      return (await client.ask.query(call.input, { signal })).answeredBy;
    case "appointments.list":
      await client.appointments.list.query(call.input, { signal });
      return undefined;
    case "appointments.book":
      await client.appointments.book.mutate(call.input, { signal });
      return undefined;
    case "notes.add":
      await client.notes.add.mutate(call.input, { signal });
      return undefined;
  }
}
