/** `paramedic status`: what a running instance says of itself, from its memory. It answers while the database does not. */
import { z } from "zod";
import { describeError } from "../../shared/describe-error.js";
import { SECOND_MS } from "../../shared/units.js";

export const STATUS_USAGE = `paramedic status [--url URL]  asks a running instance what is in force, what is open or unwell, and how old each answer is;
                    URL is where its paramedic.router is, http://HOST:PORT/trpc/paramedic by default`;

/** Somebody waits for it, at night. */
const ANSWER_WITHIN_MS = 5 * SECOND_MS;

/** What is read of the answers; an instance of another version may say more. */
const answers = z.object({
  status: z.object({
    instance: z.string(),
    settingsAgeMs: z.number().optional(),
    circuitsAgeMs: z.number().optional(),
  }),
  "settings.list": z.object({
    settings: z.array(z.object({ name: z.string(), value: z.union([z.string(), z.boolean()]), source: z.string() })),
    repairsWait: z.boolean(),
    unstored: z.array(z.string()),
  }),
  health: z.object({
    overall: z.string(),
    checks: z.array(
      z.object({
        name: z.string(),
        status: z.string(),
        message: z.string().optional(),
        ageMs: z.number().optional(),
      }),
    ),
    timestamp: z.number(),
    degradation: z.object({ level: z.string(), parts: z.array(z.string()) }).optional(),
  }),
  "circuits.list": z.array(
    z.object({
      name: z.string(),
      state: z.string(),
      openedAt: z.number().optional(),
      held: z.object({ state: z.string(), by: z.string(), reason: z.string() }).optional(),
    }),
  ),
});
export type InstanceAnswers = z.infer<typeof answers>;

const QUESTIONS = ["status", "settings.list", "health", "circuits.list"] as const satisfies (keyof InstanceAnswers)[];

/** A tRPC answer; a transformer such as superjson's puts the data one level deeper. */
const envelope = z.object({ result: z.object({ data: z.unknown() }) });
const transformed = z.object({ json: z.unknown() });

/**
 * @param url where the instance's `paramedic.router` is
 * @throws Error whose message says in half a line why there is no answer
 * @example await askInstance({ url: "http://127.0.0.1:3000/trpc/paramedic", token: undefined })
 */
export async function askInstance({
  url,
  token,
}: {
  readonly url: string;
  readonly token: string | undefined;
}): Promise<InstanceAnswers> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  const ask = async (question: string): Promise<readonly [string, unknown]> => {
    const response = await fetch(`${url}.${question}`, { headers, signal }).catch((cause: unknown) => {
      throw new Error(`no instance answers at ${url} (${reasonOf(cause)}): name one with --url`, { cause });
    });
    if (response.status === 401 || response.status === 403) {
      throw new Error(`the instance at ${url} does not let us read: set PARAMEDIC_READ_TOKEN to its own`);
    }
    if (!response.ok) throw new Error(`${url}.${question} answers with status ${response.status}`);
    const { data } = envelope.parse(await response.json()).result;
    const inner = transformed.safeParse(data);
    return [question, inner.success ? inner.data.json : data];
  };
  const told = await Promise.all(QUESTIONS.map(ask));
  const read = answers.safeParse(Object.fromEntries(told));
  if (read.success) return read.data;
  throw new Error(`what answers at ${url} is no Paramedic of this version (${read.error.issues[0]?.path.join(".")})`);
}

/** Node wraps what happened into "fetch failed". */
function reasonOf(error: unknown): string {
  return describeError(error instanceof Error ? (error.cause ?? error) : error).message;
}

/** Every line says how old it is, or is of this moment. */
export function describeInstance({
  status,
  "settings.list": { settings, repairsWait, unstored },
  health,
  "circuits.list": circuits,
}: InstanceAnswers): string {
  const { overall, degradation, checks, timestamp } = health;
  const parts = degradation?.parts ?? [];
  return [
    `${status.instance} is ${overall}${parts.length === 0 ? "" : `; without ${parts.join(", ")}: ${degradation?.level} degradation`}`,
    ...checks
      .filter((check) => check.status !== "healthy")
      .map(
        ({ name, status: how, message, ageMs }) =>
          `check ${name}: ${how}${message ? ` (${message})` : ""}, ${ago(ageMs)}`,
      ),
    ...circuits
      .filter(({ state, held }) => state !== "closed" || held !== undefined)
      .map(({ name, state, openedAt, held }) => {
        const hold = held && `, held ${held.state} by ${held.by}: ${held.reason}`;
        return `circuit ${name}: ${state}${openedAt === undefined ? "" : `, opened ${ago(timestamp - openedAt)}`}${hold ?? ""}`;
      }),
    `the other instances' circuits, ${ago(status.circuitsAgeMs)}`,
    `settings, read ${ago(status.settingsAgeMs)}${repairsWait ? ": repairs wait" : ""}`,
    ...settings.map(({ name, value, source }) => {
      return `  ${name} = ${String(value)}  (${unstored.includes(name) ? "not stored yet" : source})`;
    }),
  ].join("\n");
}

function ago(ageMs: number | undefined): string {
  return ageMs === undefined ? "never" : `${Math.round(ageMs / SECOND_MS)} s ago`;
}
