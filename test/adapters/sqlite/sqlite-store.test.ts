import { afterAll } from "vitest";
import { createSqliteStore } from "../../../server/adapters/sqlite/sqlite-store.js";
import { describeStore } from "../../conformance/store.js";
import { createFakeClock } from "../../support/fake-clock.js";
import { createTempFolder } from "./temp-database.js";

const { path, removeDatabase, remove } = createTempFolder();
const clock = createFakeClock();
const store = createSqliteStore({ clock }, { path });
const second = createSqliteStore({ clock }, { path });

afterAll(async () => {
  await Promise.all([store.close(), second.close()]);
  remove();
});

/** Each test finds a new file: the stores notice that theirs is gone and open the path anew, in the threads they have. */
describeStore("the SQLite store", async () => {
  removeDatabase();
  await Promise.all([store.open(), second.open()]);
  return { store, second, dispose: async () => undefined };
});
