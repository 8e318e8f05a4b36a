/** Another process that holds the clinic's database: a backup or a migration would look the same to the clinic. */
import { setTimeout as wait } from "node:timers/promises";
import Database from "better-sqlite3";
import { announceReady, endWithParent } from "../child-side.js";

/** `hold` begins to take the lock and let go of it, in turn; `undefined` ends that. */
export interface LockerOrder {
  readonly hold: { readonly holdMs: number; readonly freeMs: number } | undefined;
}

endWithParent();
const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("usage: locker.ts <database file>");
const sqlite = new Database(path, { timeout: 60_000 });
let present: AbortController | undefined;

process.on("message", (order: LockerOrder) => {
  present?.abort();
  if (!order.hold) return;
  present = new AbortController();
  void holdInTurn(order.hold, present.signal);
});

async function holdInTurn({ holdMs, freeMs }: NonNullable<LockerOrder["hold"]>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    sqlite.exec("BEGIN EXCLUSIVE");
    await wait(holdMs, undefined, { signal }).catch(() => {});
    sqlite.exec("COMMIT");
    await wait(freeMs, undefined, { signal }).catch(() => {});
  }
}

announceReady({ path });
