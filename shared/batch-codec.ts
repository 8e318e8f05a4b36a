/** A batch as a stream entry and back. What comes back is untrusted: another version, another writer or a torn entry. */
import { z } from "zod";
import { countOf, MAX_BUCKET_INDEX, MIN_BUCKET_INDEX, type SparseBuckets } from "./histogram.js";
import { type Batch, batchId, METRIC_TYPES, SERIES_KINDS } from "./series.js";

export const BATCH_VERSION = 1;

/**
 * Longest `data` that is parsed, in UTF-16 units: 500 series of 2,500 buckets and 16 long tags each stay below it, and
 * parsing it holds the event loop for a fraction of a second at worst.
 */
export const MAX_DATA_LENGTH = 16 * 2 ** 20;

export type BatchFields = Record<"v" | "batch" | "data", string>;

export type DecodeFailure = "missing_fields" | "not_json" | "newer_version" | "invalid";

export type DecodedBatch =
  | { readonly ok: true; readonly batch: Batch }
  | { readonly ok: false; readonly reason: DecodeFailure; readonly detail: string };

/**
 * The three fields of an entry: `v`, `batch` (`instance:boot:seq`) and `data`, JSON that an operator can read.
 *
 * @example await redis.xadd(key, "*", ...Object.entries(encodeBatch(batch)).flat());
 */
export function encodeBatch(batch: Batch): BatchFields {
  const data: z.input<typeof dataSchema> = {
    from: batch.windowStart,
    to: batch.windowEnd,
    recorded: batch.recordedTotal,
    dropped: batch.droppedTotal,
    series: batch.series.map((series) => ({
      type: series.metricType,
      name: series.metricName,
      kind: series.kind,
      unit: series.unit,
      source: series.source,
      tags: series.tags,
      count: series.count,
      sum: series.sum,
      min: series.min,
      max: series.max,
      last: series.last,
      buckets: series.buckets.length === 0 ? undefined : series.buckets,
    })),
  };
  return { v: String(BATCH_VERSION), batch: batchId(batch), data: JSON.stringify(data) };
}

/**
 * Reads an entry without ever throwing.
 *
 * @example
 * const decoded = decodeBatch(entry.fields);
 * if (decoded.ok) await store.commitBatch(decoded.batch);
 */
export function decodeBatch(fields: Readonly<Record<string, string>>): DecodedBatch {
  const { v, batch: id, data } = fields;
  if (v === undefined || id === undefined || data === undefined) {
    return failed("missing_fields", `an entry has the fields v, batch and data, got ${listOf(Object.keys(fields))}`);
  }
  if (!/^[1-9]\d{0,8}$/.test(v)) return failed("invalid", `v is a whole number from 1, got "${v.slice(0, 40)}"`);
  if (Number(v) > BATCH_VERSION) return failed("newer_version", `v is ${v}, this version reads up to ${BATCH_VERSION}`);
  const parts = /^(.+):([^:]+):(\d{1,15})$/s.exec(id);
  const [, instance, boot, seq] = parts ?? [];
  if (instance === undefined || boot === undefined || Number(seq) < 1 || id.length > MAX_ID_LENGTH) {
    return failed("invalid", `batch is instance:boot:seq, got "${id.slice(0, 80)}"`);
  }
  if (data.length > MAX_DATA_LENGTH) {
    return failed("invalid", `data is ${data.length} characters long, ${MAX_DATA_LENGTH} are read`);
  }
  let json: unknown;
  try {
    json = JSON.parse(data);
  } catch {
    return failed("not_json", `data is no JSON, it begins with "${data.slice(0, 40)}"`);
  }
  const parsed = dataSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return failed("invalid", `data.${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not a batch"}`);
  }
  const { from, to, recorded, dropped, series } = parsed.data;
  return {
    ok: true,
    batch: {
      version: BATCH_VERSION,
      instance,
      boot,
      seq: Number(seq),
      windowStart: from,
      windowEnd: to,
      recordedTotal: recorded,
      droppedTotal: dropped,
      series: series.map(({ type, name, kind, unit, source, tags, count, sum, min, max, last, buckets }) => ({
        metricType: type,
        metricName: name,
        kind,
        unit,
        source,
        tags,
        count,
        sum,
        min,
        max,
        last,
        buckets: buckets ?? [],
      })),
    },
  };
}

const MAX_ID_LENGTH = 512;
const MAX_TEXT_LENGTH = 1_024;
const MAX_TAGS = 64;
const MAX_SERIES = 10_000;
/** The last millisecond that a Date can hold. */
const MAX_TIME_MS = 8.64e15;

const whole = z.int().nonnegative();
const time = whole.max(MAX_TIME_MS);
/** NUL and half a surrogate pair: some database refuses them or keeps something else, and a series must stay the series it is. */
const UNSTORABLE = /[\p{Surrogate}\0]/u;
const isText = (value: unknown): value is string =>
  typeof value === "string" && value.length <= MAX_TEXT_LENGTH && !UNSTORABLE.test(value);
const text = z.custom<string>(isText, `expected at most ${MAX_TEXT_LENGTH} characters that every database keeps`);

/** Keys are whatever the writer chose, `__proto__` too, which zod's own records leave out; so the entries are checked. */
function mapOf<T>(accepts: (value: unknown) => value is T, what: string) {
  return z.custom<Readonly<Record<string, T>>>((input) => {
    if (typeof input !== "object" || input === null || Array.isArray(input)) return false;
    const entries = Object.entries(input);
    return entries.length <= MAX_TAGS && entries.every(([key, value]) => isText(key) && accepts(value));
  }, `expected at most ${MAX_TAGS} ${what}`);
}

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value);
const isCount = (value: unknown): value is number => isWhole(value) && value >= 0;

const sparseBuckets = z.custom<SparseBuckets>((input) => {
  if (!Array.isArray(input) || input.length % 2 !== 0) return false;
  let previous = MIN_BUCKET_INDEX - 1;
  for (let at = 0; at < input.length; at += 2) {
    const index: unknown = input[at];
    if (!isWhole(index) || index <= previous || index > MAX_BUCKET_INDEX) return false;
    const count: unknown = input[at + 1];
    if (!isWhole(count) || count < 1) return false;
    previous = index;
  }
  return true;
}, "expected index, count, index, count … with rising indexes");

const dataSchema = z
  .object({
    from: time,
    to: time,
    recorded: whole,
    dropped: mapOf(isCount, "reasons with whole counts"),
    series: z
      .array(
        z
          .object({
            type: z.enum(METRIC_TYPES),
            name: text.refine((name) => name !== "", "expected a name"),
            kind: z.enum(SERIES_KINDS),
            unit: text,
            source: text,
            tags: mapOf(isText, `tags of at most ${MAX_TEXT_LENGTH} characters`),
            count: whole.min(1),
            sum: z.number(),
            min: z.number(),
            max: z.number(),
            last: z.number(),
            buckets: sparseBuckets.optional(),
          })
          .refine((series) => series.min <= series.max, "min is above max")
          .refine(
            (series) => countOf(series.buckets ?? []) === (series.kind === "histogram" ? series.count : 0),
            "the buckets of a histogram hold as many points as count says; other kinds have none",
          ),
      )
      .max(MAX_SERIES),
  })
  .refine((data) => data.from <= data.to, "from is after to");

function failed(reason: DecodeFailure, detail: string): DecodedBatch {
  return { ok: false, reason, detail };
}

function listOf(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.slice(0, 5).join(", ").slice(0, 80);
}
