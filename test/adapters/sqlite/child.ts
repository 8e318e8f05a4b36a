/** Another process at the same database; the first argument says what it does. It prints one line when it is done. */
import Database from "better-sqlite3";
import { migrateSqlite } from "../../../server/adapters/sqlite/migrate.js";
import { createSqliteStore } from "../../../server/adapters/sqlite/sqlite-store.js";
import { systemClock } from "../../../server/ports/clock.js";
import { batchOf } from "../../conformance/store-fixtures.js";

const [, , task, path = ""] = process.argv;

switch (task) {
  case "migrate":
    console.log(JSON.stringify(migrateSqlite(path)));
    break;
  case "hold-lock": {
    const raw = new Database(path);
    raw.exec("begin exclusive");
    console.log("held");
    process.stdin.resume();
    // Held on to: a connection that is collected as garbage gives its lock back.
    process.stdin.once("end", () => raw.close());
    break;
  }
  case "write-until-killed": {
    const store = createSqliteStore({ clock: systemClock }, { path });
    await store.open();
    let seq = 0;
    while (seq < Number.MAX_SAFE_INTEGER) {
      seq += 1;
      await store.commitBatch(batchOf({ seq, recordedTotal: seq * 3 }));
      console.log(seq);
    }
    break;
  }
  case "write-and-leave": {
    const store = createSqliteStore({ clock: systemClock }, { path });
    await store.open();
    await store.commitBatch(batchOf());
    console.log("written");
    break;
  }
  default:
    throw new Error(`no task ${task}`);
}
