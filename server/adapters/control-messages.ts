/** Control messages as text between processes: `{ v, from, message }`. What another version sends and this one does not know is left alone. */
import { z } from "zod";
import { CIRCUIT_STATES, HELD_STATES, TRANSITION_REASONS } from "../../shared/circuit.js";
import { ParamedicError } from "../../shared/errors.js";
import type { ControlMessage } from "../ports/control-channel.js";

const VERSION = 1;

/** A message says in a few words where to look. */
export const MOST_MESSAGE_BYTES = 64 * 1_024;

const text = z.string().min(1).max(1_000);
/** JSON has no undefined: null stands for it. */
const maybe = <T extends z.ZodType>(schema: T) =>
  schema.nullable().transform((value): z.output<T> | undefined => value ?? undefined);
const time = z.number().int();

const messageSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("circuit.open"), circuitName: text, reason: text, failureEventId: maybe(text) }),
  z.object({ type: z.literal("circuit.reset"), circuitName: text, reason: text }),
  z.object({
    type: z.literal("circuit.hold"),
    circuitName: text,
    hold: z.object({ state: z.enum(HELD_STATES), by: text, reason: text, until: maybe(time) }),
  }),
  z.object({ type: z.literal("circuit.release"), circuitName: text }),
  z.object({
    type: z.literal("circuit.transitioned"),
    transition: z.object({
      circuitName: text,
      from: z.enum(CIRCUIT_STATES),
      to: z.enum(CIRCUIT_STATES),
      reason: z.enum(TRANSITION_REASONS),
      version: time,
      at: time,
      instance: text,
      failureEventId: maybe(text),
    }),
  }),
  z.object({ type: z.literal("settings.changed"), name: text }),
]);

const envelopeSchema = z.object({ v: z.number(), from: text, message: z.looseObject({ type: z.string() }) });
const KNOWN_TYPES: ReadonlySet<string> = new Set(messageSchema.options.map(({ shape }) => shape.type.value));

/** @param from who sends it: nobody hears what they sent themselves twice */
export function encodeControlMessage(from: string, message: ControlMessage): string {
  return JSON.stringify({ v: VERSION, from, message }, (_key, value: unknown) => value ?? null);
}

/**
 * Undefined for what another version may well mean: another format, or a type that is not known here.
 *
 * @throws ParamedicError STREAM_MISCONFIGURED for what no version of ours sends
 */
export function decodeControlMessage(
  received: string,
): { readonly from: string; readonly message: ControlMessage } | undefined {
  const envelope = envelopeSchema.safeParse(received.length <= MOST_MESSAGE_BYTES ? jsonOf(received) : undefined);
  if (!envelope.success) throw strange("it has another form");
  const { v, from, message } = envelope.data;
  if (v !== VERSION || !KNOWN_TYPES.has(message.type)) return undefined;
  const checked = messageSchema.safeParse(message);
  if (!checked.success) throw strange(`its ${checked.error.issues[0]?.path.join(".") ?? "content"} cannot be read`);
  return { from, message: checked.data };
}

function jsonOf(received: string): unknown {
  try {
    return JSON.parse(received);
  } catch {
    return undefined;
  }
}

function strange(why: string): ParamedicError {
  return new ParamedicError(
    "STREAM_MISCONFIGURED",
    `a message on the control channel is not ours, ${why}: who else sends there?`,
  );
}
