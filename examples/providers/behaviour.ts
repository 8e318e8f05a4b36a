/** How a fake provider may behave, as the control endpoint takes it. */
import { z } from "zod";

const milliseconds = z.number().min(0).max(600_000);

/**
 * healthy  answers after a time between `minMs` and `maxMs`, mostly near the lower end
 * error    answers at once with this status and the body that real providers send with it
 * hang     accepts the request and never answers
 * cut      sends half of a body, then drops the connection
 * dead     does not listen: connections are refused
 */
export const behaviourSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("healthy"), minMs: milliseconds, maxMs: milliseconds }),
  z.object({
    kind: z.literal("error"),
    status: z.union([z.literal(429), z.literal(500), z.literal(503), z.literal(529)]),
  }),
  z.object({ kind: z.literal("hang") }),
  z.object({ kind: z.literal("cut") }),
  z.object({ kind: z.literal("dead") }),
]);
export type Behaviour = z.infer<typeof behaviourSchema>;

/** What the control endpoint takes: new behaviours by provider; those not named stay as they are. */
export const controlSchema = z.record(z.string(), behaviourSchema);
export type Control = z.infer<typeof controlSchema>;

/** What it answers. */
export interface ProviderStatus {
  readonly behaviour: Behaviour;
  /** Requests that reached this provider since it was started. */
  readonly requests: number;
}
