/** What operators did, in a map. */
import type { AuditEntry, AuditStore } from "../../ports/store.js";
import { forgetOldest, type Kept, newestFirst, prune, type Slice } from "./memory-rows.js";

export interface MemoryAudit {
  readonly store: AuditStore;
  all(): readonly AuditEntry[];
  prune(slice: Slice): number;
}

export function createMemoryAudit({ nextId }: { readonly nextId: () => number }, capacity: number): MemoryAudit {
  const audit = new Map<number, Kept<AuditEntry>>();
  return {
    all: () => [...audit.values()].map(({ row }) => row),
    store: {
      async recordAudit(entry) {
        const id = nextId();
        audit.set(id, { id, row: entry });
        forgetOldest(audit, capacity);
      },
      async listAudit(query) {
        return newestFirst(
          audit.values(),
          query,
          (row) => row.at,
          () => true,
        );
      },
    },
    prune: ({ before, limit }) => prune(audit, limit, ({ row }) => row.at < before),
  };
}
