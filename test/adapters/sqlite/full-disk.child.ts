/** Fills the disk under the store, lets retention run a month later, and prints what became of both. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createSqliteStore } from "../../../server/adapters/sqlite/sqlite-store.js";
import { createCompaction } from "../../../server/metrics/compaction.js";
import { systemClock } from "../../../server/ports/clock.js";
import { isParamedicError } from "../../../shared/errors.js";
import { DAY_MS } from "../../../shared/units.js";
import { createShiftedClock } from "../../support/shifted-clock.js";

const [, , folder = ""] = process.argv;
const clock = createShiftedClock();
const store = createSqliteStore({ clock: systemClock }, { path: join(folder, "paramedic.db") });
await store.open();

const write = async (): Promise<string | undefined> => {
  try {
    const reason = "a look first ".repeat(200);
    const entry = { actor: "ada", action: "settings.set", subject: "mode", reason, outcome: "succeeded" } as const;
    await store.recordAudit({ ...entry, at: clock.now(), detail: undefined });
    return undefined;
  } catch (error) {
    return isParamedicError(error) ? error.code : String(error);
  }
};

const compaction = createCompaction({ clock, store });
await compaction.runOnce();
for (let row = 0; row < 500; row += 1) await write();
// As much as there is room for, down to the last byte.
for (const bytes of [64 << 20, 4_096, 1]) {
  try {
    for (let file = 0; ; file += 1) writeFileSync(join(folder, `filler-${bytes}-${file}`), Buffer.alloc(bytes));
  } catch {
    // Full.
  }
}
let written = 0;
let full = await write();
while (full === undefined && written < 10_000) {
  written += 1;
  full = await write();
}

clock.shift(31 * DAY_MS);
await compaction.runOnce();
const { items } = await store.listAudit({ limit: 100 });
process.stdout.write(
  JSON.stringify({ full, deleted: compaction.stats().deleted, left: items.length, after: await write() }),
);
await store.close();
