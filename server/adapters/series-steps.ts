/** What a read of series may ask for, and which series it is about. */
import { ParamedicError } from "../../shared/errors.js";
import { FEWEST_BANDS } from "../../shared/heat-map.js";
import type { Tags } from "../../shared/series.js";
import { ROLLUP_RESOLUTION_MS } from "./folding.js";

/** @throws ParamedicError STORE_REQUEST_INVALID unless `stepMs` is a positive multiple of the stored resolution. */
export function checkStep(stepMs: number): number {
  if (stepMs > 0 && stepMs % ROLLUP_RESOLUTION_MS === 0) return stepMs;
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `stepMs must be a positive multiple of ${ROLLUP_RESOLUTION_MS} ms, got ${stepMs}`,
  );
}

const MOST_BANDS = 1_000;

/** @throws ParamedicError STORE_REQUEST_INVALID unless `mostBands` is a whole number from 2 to 1,000. */
export function checkBands(mostBands: number): number {
  if (Number.isInteger(mostBands) && mostBands >= FEWEST_BANDS && mostBands <= MOST_BANDS) return mostBands;
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `mostBands must be a whole number in [${FEWEST_BANDS}, ${MOST_BANDS}], got ${mostBands}`,
  );
}

/** Tags in one order, so that equal tags are equal text. */
export function canonicalTags(tags: Tags): Tags {
  return Object.fromEntries(Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function carriesTags(tags: Tags, wanted: Tags | undefined): boolean {
  return Object.entries(wanted ?? {}).every(([name, value]) => Object.hasOwn(tags, name) && tags[name] === value);
}
