/** Faults of our own: counted by place and logged, never thrown into a user's call. */
import { describeError } from "../shared/describe-error.js";
import type { Logger } from "./ports/logger.js";

export interface Faults {
  /** What a part is given to report its faults with. The returned function never throws. */
  at(place: string): (error: unknown) => void;
  /** How often each place has reported one. */
  counts(): Readonly<Record<string, number>>;
}

/** @example const faults = createFaults({ logger }); createLoop({ …, onError: faults.at("recovery") }) */
export function createFaults({ logger }: { readonly logger: Logger }): Faults {
  const byPlace = new Map<string, number>();
  return Object.freeze<Faults>({
    at: (place) => (error) => {
      byPlace.set(place, (byPlace.get(place) ?? 0) + 1);
      const { name, message, code } = describeError(error);
      logger.error(
        { event: "fault", subject: place, name, ...(code !== undefined && { code }) },
        `${place}: ${message}`,
      );
    },
    counts: () => Object.fromEntries(byPlace),
  });
}
