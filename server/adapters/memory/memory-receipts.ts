/** What each reported row was folded into, and how much of it was counted, so that a repeated report adds nothing. */
import type { Clock } from "../../ports/clock.js";
import { RECEIPT_RETENTION_MS } from "../folding.js";

interface Receipt {
  readonly storedId: string;
  readonly counted: number;
  readonly at: number;
}

export interface MemoryReceipts {
  get(id: string): Receipt | undefined;
  /** Occurrences of a report that were not counted before. */
  uncounted(id: string, occurrences: number): number;
  put(id: string, counted: { readonly storedId: string; readonly occurrences: number }): void;
  /** Forgets those that nobody will report again. */
  prune(): void;
}

export function createMemoryReceipts({ clock }: { readonly clock: Clock }): MemoryReceipts {
  const receipts = new Map<string, Receipt>();
  const countedOf = (id: string) => receipts.get(id)?.counted ?? 0;
  return {
    get: (id) => receipts.get(id),
    uncounted: (id, occurrences) => Math.max(0, occurrences - countedOf(id)),
    put(id, { storedId, occurrences }) {
      const at = receipts.get(id)?.at ?? clock.now();
      receipts.set(id, { storedId, counted: Math.max(occurrences, countedOf(id)), at });
    },
    prune() {
      const forgottenBefore = clock.now() - RECEIPT_RETENTION_MS;
      for (const [id, { at }] of receipts) {
        if (at >= forgottenBefore) break;
        receipts.delete(id);
      }
    },
  };
}
