/** Keeps one story from flooding the log: lines of one event and subject are limited, what was held back is counted. */
import type { JsonObject } from "../shared/failure.js";
import { MINUTE_MS } from "../shared/units.js";
import type { Clock } from "./ports/clock.js";
import type { Logger } from "./ports/logger.js";

export interface LogLimit {
  /** Lines of one kind per minute, a kind being the fields `event` and `subject`. 1 to 10,000. @default 30 */
  readonly linesPerMinute: number;
}

export const LOG_LIMIT_DEFAULTS: LogLimit = Object.freeze({ linesPerMinute: 30 });

/** Kinds remembered at once; beyond it all are forgotten, which lets lines through rather than memory grow. */
const MOST_KINDS = 2_000;

/**
 * Wraps a logger. A logger that throws is ignored: nothing of ours may end a user's call.
 *
 * @example limitLogger({ clock, logger: pino() }).warn({ event: "store", subject: "unavailable" }, "the store is away")
 */
export function limitLogger(
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  { linesPerMinute }: LogLimit = LOG_LIMIT_DEFAULTS,
): Logger {
  const kinds = new Map<string, { since: number; lines: number; heldBack: number }>();

  const admit = (fields: JsonObject): JsonObject | undefined => {
    const key = `${String(fields.event)}\u0000${String(fields.subject)}`;
    const now = clock.monotonic();
    const kind = kinds.get(key);
    if (kind === undefined || now - kind.since >= MINUTE_MS) {
      if (kinds.size >= MOST_KINDS) kinds.clear();
      kinds.set(key, { since: now, lines: 1, heldBack: 0 });
      return kind !== undefined && kind.heldBack > 0 ? { ...fields, heldBack: kind.heldBack } : fields;
    }
    if (kind.lines < linesPerMinute) {
      kind.lines += 1;
      return fields;
    }
    kind.heldBack += 1;
    return undefined;
  };

  const limited =
    (level: keyof Logger) =>
    (fields: JsonObject, message: string): void => {
      const admitted = admit(fields);
      if (admitted === undefined) return;
      try {
        logger[level](admitted, message);
      } catch {
        // There is nowhere left to say it.
      }
    };

  return Object.freeze({
    debug: limited("debug"),
    info: limited("info"),
    warn: limited("warn"),
    error: limited("error"),
  });
}
