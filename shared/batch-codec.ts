/** A batch as a stream entry and back. What comes back is untrusted: another version, another writer or a torn entry. */
import { batchDataOf } from "./batch-data.js";
import { textOfBuckets } from "./buckets-text.js";
import { type Batch, batchId } from "./series.js";

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
  const data = {
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
      buckets: series.buckets.length === 0 ? undefined : textOfBuckets(series.buckets),
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
  const read = batchDataOf(json);
  if (typeof read === "string") return failed("invalid", `data.${read}`);
  return { ok: true, batch: { version: BATCH_VERSION, instance, boot, seq: Number(seq), ...read } };
}

const MAX_ID_LENGTH = 512;

function failed(reason: DecodeFailure, detail: string): DecodedBatch {
  return { ok: false, reason, detail };
}

function listOf(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.slice(0, 5).join(", ").slice(0, 80);
}
