/** How long something held the event loop, each time: counted by a few bounds, for scrapers. */
import type { BoundedCounts } from "../../shared/cumulative-series.js";
import { SECOND_MS } from "../../shared/units.js";

/** In seconds. */
export interface BlockTimes extends BoundedCounts {
  readonly sum: number;
}

/** From what nobody notices to what every caller does. */
const BOUNDS_S: readonly number[] = Object.freeze([
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
]);

export function createBlockTimes(): { add(durationMs: number): void; read(): BlockTimes } {
  const counts = new Float64Array(BOUNDS_S.length + 1);
  let sum = 0;
  return {
    add(durationMs) {
      const seconds = durationMs / SECOND_MS;
      const place = BOUNDS_S.findIndex((bound) => seconds <= bound);
      const at = place < 0 ? BOUNDS_S.length : place;
      counts[at] = (counts[at] ?? 0) + 1;
      sum += seconds;
    },
    read: () => ({ bounds: BOUNDS_S, counts: counts.slice(), sum }),
  };
}
