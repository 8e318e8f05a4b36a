/** Inputs that several procedures share, with their limits. */
import { z } from "zod";

/** UTC milliseconds. */
export const timestamp = z.number().int().min(0).max(8.64e15);

/** UTC milliseconds, `from` included and `to` excluded. */
export const timeRange = z.object({ from: timestamp.optional(), to: timestamp.optional() });

export const page = z.object({
  cursor: z.string().min(1).max(200).optional(),
  limit: z.number().int().min(1).max(200).default(50),
});

export const serviceName = z.string().min(1).max(200);
