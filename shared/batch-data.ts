/**
 * What the JSON of a stream entry says, once it is certain that it says it. Checked by hand, where other borders have zod: of
 * what a window costs on its way through the stream, zod alone would take a third.
 */
import { bucketsOfText } from "./buckets-text.js";
import { countOf } from "./histogram.js";
import { type Batch, METRIC_TYPES, type MetricType, SERIES_KINDS, type SeriesKind } from "./series.js";

export type BatchData = Pick<Batch, "windowStart" | "windowEnd" | "recordedTotal" | "droppedTotal" | "series">;
type MeasuredSeries = Batch["series"][number];

const MAX_TEXT_LENGTH = 1_024;
const MAX_TAGS = 64;
const MAX_SERIES = 10_000;
/** The last millisecond that a Date can hold. */
const MAX_TIME_MS = 8.64e15;

const TEXT = `expected at most ${MAX_TEXT_LENGTH} characters that every database keeps`;
const TAGS = `expected at most ${MAX_TAGS} tags of at most ${MAX_TEXT_LENGTH} characters`;
const NUMBER = "expected a finite number";
const COUNT = "expected a whole number from 0";
const TIME = `expected a whole number from 0 to ${MAX_TIME_MS}`;

/** Gives a text when it is no batch's: where the fault is and what was expected there. Unknown names are passed over. */
export function batchDataOf(json: unknown): BatchData | string {
  if (!isMap(json)) return ": expected an object";
  const { from, to, recorded, dropped, series } = json;
  if (!isTime(from)) return `from: ${TIME}`;
  if (!isTime(to)) return `to: ${TIME}`;
  if (from > to) return "from: it is after to";
  if (!isCount(recorded)) return `recorded: ${COUNT}`;
  if (!isMapOf(dropped, isCount)) return `dropped: expected at most ${MAX_TAGS} reasons with whole counts`;
  if (!Array.isArray(series) || series.length > MAX_SERIES) return `series: expected a list of at most ${MAX_SERIES}`;
  const measured: MeasuredSeries[] = [];
  for (const [at, one] of series.entries()) {
    const read = seriesOf(one);
    if (typeof read === "string") return `series.${at}.${read}`;
    measured.push(read);
  }
  return { windowStart: from, windowEnd: to, recordedTotal: recorded, droppedTotal: dropped, series: measured };
}

function seriesOf(json: unknown): MeasuredSeries | string {
  if (!isMap(json)) return ": expected an object";
  const { type, name, kind, unit, source, tags, count, sum, min, max, last } = json;
  if (!isType(type)) return `type: expected one of ${METRIC_TYPES.join(", ")}`;
  if (!isText(name) || name === "") return `name: expected a name; ${TEXT}`;
  if (!isKind(kind)) return `kind: expected one of ${SERIES_KINDS.join(", ")}`;
  if (!isText(unit)) return `unit: ${TEXT}`;
  if (!isText(source)) return `source: ${TEXT}`;
  if (!isMapOf(tags, isText)) return `tags: ${TAGS}`;
  if (!isCount(count) || count < 1) return "count: expected a whole number from 1";
  if (!isNumber(sum)) return `sum: ${NUMBER}`;
  if (!isNumber(min)) return `min: ${NUMBER}`;
  if (!isNumber(max)) return `max: ${NUMBER}`;
  if (!isNumber(last)) return `last: ${NUMBER}`;
  if (min > max) return "min: it is above max";
  const buckets = bucketsIn(json.buckets);
  if (buckets === undefined || countOf(buckets) !== (kind === "histogram" ? count : 0)) {
    return "buckets: a histogram's hold as many points as count says, by rising index; other kinds have none";
  }
  return { metricType: type, metricName: name, kind, unit, source, tags, count, sum, min, max, last, buckets };
}

function bucketsIn(value: unknown) {
  if (value === undefined) return [];
  return typeof value === "string" ? bucketsOfText(value) : undefined;
}

const isType = (value: unknown): value is MetricType => METRIC_TYPES.some((type) => type === value);
const isKind = (value: unknown): value is SeriesKind => SERIES_KINDS.some((kind) => kind === value);
const isNumber = (value: unknown): value is number => Number.isFinite(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
const isTime = (value: unknown): value is number => isCount(value) && value <= MAX_TIME_MS;

/** NUL and half a surrogate pair: some database refuses them or keeps something else, and a series must stay the series it is. */
const UNSTORABLE = /[\p{Surrogate}\0]/u;
const isText = (value: unknown): value is string =>
  typeof value === "string" && value.length <= MAX_TEXT_LENGTH && !UNSTORABLE.test(value);

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Keys are whatever the writer chose, `__proto__` too. */
function isMapOf<T>(value: unknown, accepts: (item: unknown) => item is T): value is Readonly<Record<string, T>> {
  if (!isMap(value)) return false;
  const keys = Object.keys(value);
  return keys.length <= MAX_TAGS && keys.every((key) => isText(key) && accepts(value[key]));
}
