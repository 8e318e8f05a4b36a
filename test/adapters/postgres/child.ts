/** Another process at the same database; the first argument says what it does. It prints one line when it is done. */
import { migratePostgres } from "../../../server/adapters/postgres/migrate.js";
import { createPostgresStore } from "../../../server/adapters/postgres/postgres-store.js";
import { systemClock } from "../../../server/ports/clock.js";
import { batchOf } from "../../conformance/store-fixtures.js";

const [, , task, url = ""] = process.argv;

switch (task) {
  case "migrate":
    console.log(JSON.stringify(await migratePostgres(url)));
    break;
  case "write-until-killed": {
    const store = createPostgresStore({ clock: systemClock }, { url });
    await store.open();
    for (let seq = 1; seq < Number.MAX_SAFE_INTEGER; seq += 1) {
      await store.commitBatch(batchOf({ seq, recordedTotal: seq * 3 }));
      console.log(seq);
    }
    break;
  }
  case "write-and-leave": {
    const store = createPostgresStore({ clock: systemClock }, { url });
    await store.open();
    await store.commitBatch(batchOf());
    console.log("written");
    break;
  }
  default:
    throw new Error(`no task ${task}`);
}
