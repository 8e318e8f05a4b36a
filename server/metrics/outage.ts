/** Says once that a dependency is gone, again while it stays gone, and once that it is back: never a line per attempt. */

import { isParamedicError } from "../../shared/errors.js";
import { MINUTE_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type { Logger } from "../ports/logger.js";

export interface Outage {
  failed(error: unknown): void;
  succeeded(): void;
}

const REPEAT_AFTER_MS = 5 * MINUTE_MS;

/**
 * @param what the dependency and what its absence means, as the line shall read
 * @example
 * const outage = createOutage({ clock, logger }, "metric stream");
 * outage.failed(error); // one line; the next 5 minutes of failures say nothing
 */
export function createOutage(
  { clock, logger }: { readonly clock: Clock; readonly logger?: Logger | undefined },
  what: string,
): Outage {
  let since: number | undefined;
  let saidAt = 0;
  let code: string | undefined;

  return Object.freeze({
    failed(error: unknown) {
      const now = clock.monotonic();
      const found = isParamedicError(error) ? error.code : undefined;
      if (since !== undefined && found === code && now - saidAt < REPEAT_AFTER_MS) return;
      since ??= now;
      saidAt = now;
      code = found;
      const reason = error instanceof Error ? error.message : "no reason given";
      say(() => logger?.warn({ code: found ?? null, downForMs: now - (since ?? now), reason }, `${what} unavailable`));
    },
    succeeded() {
      if (since === undefined) return;
      const downForMs = clock.monotonic() - since;
      since = undefined;
      say(() => logger?.info({ downForMs }, `${what} available again`));
    },
  });
}

/** A logger that throws is ignored. */
function say(line: () => void): void {
  try {
    line();
  } catch {}
}
