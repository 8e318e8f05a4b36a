/**
 * The promise of laws 5 to 7 against real faults: two producers, two aggregators, Redis with a replica and the store, all as
 * processes of their own, while a nemesis does its worst to them; afterwards every point is accounted for.
 *
 * NEMESIS_SECONDS is how long the faults go on (60), NEMESIS_SEED which they are (another each time, and printed).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleScripts, type ScriptBundle } from "../support/script-bundle.js";
import { check } from "./checker.js";
import type { Role } from "./fleet.js";
import { STORE_KINDS, type StoreKind } from "./plan.js";
import { runNemesis } from "./run.js";
import { type SharedStore, startSharedStore } from "./shared-store.js";

const seconds = Number(process.env.NEMESIS_SECONDS ?? 60);
const seed = Number(process.env.NEMESIS_SEED ?? Date.now() % 2 ** 31);

/** Without these the run has shown nothing. */
const ESSENTIAL = [
  "batches_committed",
  "dedupe_hits",
  "entries_of_the_dead_reclaimed",
  "windows_merged",
  "batches_sent_again",
  "points_lost_in_gaps",
  "gaps_recorded",
  "batches_settled",
  "points_dropped",
  "entries_destroyed",
  "unreadable_entries_kept",
  "newer_format_seen",
  "producers_killed",
  "stream_was_away",
  "store_was_away",
];

let bundle: ScriptBundle<Role>;
const stores = new Map<StoreKind, SharedStore>();
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-nemesis-store-"));
  bundle = await bundleScripts({
    producer: "test/nemesis/producer.ts",
    aggregator: "test/nemesis/aggregator.ts",
  });
  for (const kind of STORE_KINDS) stores.set(kind, await startSharedStore(kind, folder));
}, 120_000);
afterAll(async () => {
  for (const store of stores.values()) await store.dispose();
  bundle?.remove();
  rmSync(folder, { recursive: true, force: true });
});

describe.concurrent("recorded = rolled up + dropped + lost + in the memory of killed producers, to the unit", () => {
  it.each(STORE_KINDS)(
    "I1 I2 I3 I7 I8 I9 I11: on %s, whatever the nemesis does",
    async (kind) => {
      console.log(`nemesis on ${kind}: NEMESIS_SEED=${seed} NEMESIS_SECONDS=${seconds}`);
      const store = stores.get(kind);
      if (!store) throw new Error(`no store of kind ${kind} was started`);
      const { evidence, reached, faults } = await runNemesis({ kind, seed, forMs: seconds * 1_000, bundle, store });
      const { violations, ...sums } = check(evidence);
      console.log(`nemesis on ${kind}: ${faults.length} faults`, { seed, ...sums }, reached);
      expect(violations).toEqual([]);
      expect(reached).toMatchObject(Object.fromEntries(ESSENTIAL.map((path) => [path, expect.toSatisfy(isReached)])));
      expect(reached).toMatchObject({ invariants_broken: 0, faults_of_no_known_kind: 0 });
    },
    seconds * 1_000 + 180_000,
  );
});

function isReached(times: number): boolean {
  return times > 0;
}
