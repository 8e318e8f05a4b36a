/** Guard coverage: which procedures use which services, and what goes out past every guard, as this instance has seen it. */
import { z } from "zod";
import type { Coverage } from "../../shared/coverage.js";
import { timestamp } from "./inputs.js";
import type { createProcedures } from "./procedures.js";

const count = z.number().int().min(0);

const coverage = z.object({
  /** Whose list it is; every instance has its own. */
  instance: z.string(),
  watching: z.boolean(),
  since: timestamp,
  reaches: z.array(z.object({ procedure: z.string(), service: z.string(), count, lastSeenAt: timestamp })).readonly(),
  unguarded: z
    .array(
      z.object({
        origin: z.string(),
        guarded: z.literal(false),
        count,
        lastSeenAt: timestamp,
        procedures: z.array(z.string()).readonly(),
      }),
    )
    .readonly(),
  undecided: count,
  unlisted: z.object({ reaches: count, unguarded: count }),
}) satisfies z.ZodType<Coverage>;

export interface CoverageDeps {
  readonly coverage: () => Coverage;
  readonly status: () => { readonly instance: string };
}

export function createCoverageProcedure({ read }: ReturnType<typeof createProcedures>, deps: CoverageDeps) {
  return read.output(coverage).query(() => ({ instance: deps.status().instance, ...deps.coverage() }));
}
