/** Faults of our own: counted by place and logged, never thrown into a user's call. */
import { describeError } from "../shared/describe-error.js";
import { MINUTE_MS } from "../shared/units.js";
import type { Clock } from "./ports/clock.js";
import type { Logger } from "./ports/logger.js";

export interface Faults {
  /** What a part is given to report its faults with. The returned function never throws. */
  at(place: string): (error: unknown) => void;
  /** How often each place has reported one. */
  counts(): Readonly<Record<string, number>>;
}

/** What a place says again and again is written this often: a dependency that is away fails every attempt in the same words. */
const REPEAT_AFTER_MS = 5 * MINUTE_MS;

interface Place {
  count: number;
  message: string | undefined;
  /** Monotonic milliseconds. */
  saidAt: number;
}

/** @example const faults = createFaults({ clock, logger }); createLoop({ …, onError: faults.at("recovery") }) */
export function createFaults({ clock, logger }: { readonly clock: Clock; readonly logger: Logger }): Faults {
  const places = new Map<string, Place>();
  return Object.freeze<Faults>({
    at: (name) => (error) => {
      const fault = describeError(error);
      const now = clock.monotonic();
      const place = places.get(name) ?? { count: 0, message: undefined, saidAt: now };
      places.set(name, place);
      place.count += 1;
      if (fault.message === place.message && now - place.saidAt < REPEAT_AFTER_MS) return;
      place.message = fault.message;
      place.saidAt = now;
      const { code } = fault;
      logger.error(
        { event: "fault", subject: name, name: fault.name, count: place.count, ...(code !== undefined && { code }) },
        `${name}: ${fault.message}`,
      );
    },
    counts: () => Object.fromEntries([...places].map(([name, { count }]) => [name, count])),
  });
}
