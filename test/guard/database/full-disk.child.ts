/** Fills the disk under a guarded SQLite file, makes room again, and prints what its callers met on the way. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { makeGuards, users } from "../../support/database-fixture.js";

const [, , folder = "", journalMode = ""] = process.argv;
const filler = join(folder, "filler");
const client = new Database(join(folder, "app.db"));
client.pragma(`journal_mode = ${journalMode}`);
client.exec("CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE)");
const { guardDatabase, databases, failures, rescues, registry } = makeGuards({}, { failureThreshold: 1 });
const db = guardDatabase("db:main", drizzle(client));

const errorOf = async (work: PromiseLike<unknown>): Promise<unknown> => {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
};
const write = (length: number) => errorOf(db.insert(users).values({ name: `${Math.random()}`.padEnd(length, "x") }));
const until = async (isSo: () => boolean | Promise<boolean>) => {
  for (let tries = 0; tries < 2_000 && !(await isSo()); tries += 1) await new Promise((next) => setTimeout(next, 10));
};
const why = () => databases()[0]?.degradedBecause();

const before = await write(10);
try {
  writeFileSync(filler, Buffer.alloc(64 << 20));
} catch {
  // As much as there was room for.
}
let first: unknown;
await until(async () => {
  first = await write(50_000);
  return first !== undefined;
});
await until(() => why() !== undefined);
const refused = await write(10);
const full = {
  before,
  first: Reflect.get(Object(first), "code"),
  refused: Reflect.get(Object(refused), "reason"),
  why: why(),
  canRead: (await db.select().from(users)).length > 0,
};
rmSync(filler);
await until(() => why() === undefined);
const after = await write(50_000);
process.stdout.write(
  JSON.stringify({
    ...full,
    after,
    circuit: registry.get("db:main")?.snapshot().state,
    integrity: client.pragma("integrity_check", { simple: true }),
    failures: [...new Set(failures().map(({ failureType }) => failureType))],
    rescues: rescues().map(({ actionStrategy, status }) => `${actionStrategy} ${status}`),
  }),
);
client.close();
