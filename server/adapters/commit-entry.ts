/** Reads a stream entry and folds what it holds; where it cannot be read, says why. */
import { type DecodedBatch, decodeBatch } from "../../shared/batch-codec.js";
import { outlineOf } from "../../shared/batch-outline.js";
import type { Batch } from "../../shared/series.js";
import type { EntryOutcome } from "../ports/store.js";

export async function commitEntry(
  fields: Readonly<Record<string, string>>,
  commit: (batch: Batch) => Promise<boolean>,
): Promise<EntryOutcome> {
  const decoded = decodeBatch(fields);
  return decoded.ok ? outcomeOf(decoded.batch, await commit(decoded.batch)) : unreadable(decoded);
}

/** The same where the store answers at once. */
export function commitEntrySync(
  fields: Readonly<Record<string, string>>,
  commit: (batch: Batch) => boolean,
): EntryOutcome {
  const decoded = decodeBatch(fields);
  return decoded.ok ? outcomeOf(decoded.batch, commit(decoded.batch)) : unreadable(decoded);
}

function outcomeOf(batch: Batch, isNew: boolean): EntryOutcome {
  return { kind: isNew ? "folded" : "known", batch: outlineOf(batch) };
}

function unreadable({ reason, detail }: Extract<DecodedBatch, { ok: false }>): EntryOutcome {
  return { kind: "unreadable", reason, detail };
}
