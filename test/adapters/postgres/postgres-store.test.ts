import { afterAll, beforeAll, describe } from "vitest";
import { createPostgresStore } from "../../../server/adapters/postgres/postgres-store.js";
import type { Store } from "../../../server/ports/store.js";
import { describeStore } from "../../conformance/store.js";
import { createTestDatabase, type TestDatabase } from "../../services/postgres-database.js";
import { createFakeClock } from "../../support/fake-clock.js";

/** Each test finds its tables empty; what the stores remember of the rows of the test before is stale. */
describe("PostgreSQL", () => {
  let database: TestDatabase;
  let store: Store;
  let second: Store;
  let truncate: string;
  const clock = createFakeClock();

  beforeAll(async () => {
    database = await createTestDatabase();
    store = createPostgresStore({ clock }, { url: database.url });
    second = createPostgresStore({ clock }, { url: database.url });
    await Promise.all([store.open(), second.open()]);
    const tables = await database.run(
      "select quote_ident(tablename) as name from pg_tables where schemaname = 'public' and tablename <> 'paramedic_migrations'",
    );
    truncate = `truncate ${tables.map(({ name }) => name).join(", ")} cascade`;
  });
  afterAll(async () => {
    await Promise.all([store?.close(), second?.close()]);
    await database?.remove();
  });

  describeStore("the PostgreSQL store", async () => {
    await database.run(truncate);
    return { clock, store, second, dispose: async () => undefined };
  });
});
