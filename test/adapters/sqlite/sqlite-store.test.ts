import { EventEmitter } from "node:events";
import { afterAll } from "vitest";
import { createReadHandler } from "../../../server/adapters/sqlite/read-handler.js";
import { createRequestHandler } from "../../../server/adapters/sqlite/request-handler.js";
import { createSqliteStore, type SqliteStoreDeps } from "../../../server/adapters/sqlite/sqlite-store.js";
import type { StoreThread } from "../../../server/adapters/sqlite/thread-client.js";
import type { ThreadReply, ThreadRequest } from "../../../server/adapters/sqlite/thread-protocol.js";
import { describeStore } from "../../conformance/store.js";
import { createFakeClock } from "../../support/fake-clock.js";
import { createTempFolder } from "./temp-database.js";

/** The thread's work done in this thread, where a debugger and a coverage report can see it. */
class InThread<Command extends string> extends EventEmitter implements StoreThread {
  constructor(private readonly handle: (request: ThreadRequest<Command>) => ThreadReply) {
    super();
  }
  postMessage(request: ThreadRequest<Command>) {
    const reply = structuredClone(this.handle(structuredClone(request)));
    queueMicrotask(() => this.emit("message", reply));
  }
  ref() {}
  unref() {}
  async terminate() {}
}

/** Each test finds a new file: the stores notice that theirs is gone and open the path anew, in the threads they have. */
function describeSqliteStore(name: string, threads: Pick<SqliteStoreDeps, "spawn" | "spawnReader"> = {}): void {
  const { path, removeDatabase, remove } = createTempFolder();
  const clock = createFakeClock();
  const store = createSqliteStore({ clock, ...threads }, { path });
  const second = createSqliteStore({ clock, ...threads }, { path });

  afterAll(async () => {
    await Promise.all([store.close(), second.close()]);
    remove();
  });

  const create = async () => {
    removeDatabase();
    await Promise.all([store.open(), second.open()]);
    return { clock, store, second, dispose: async () => undefined };
  };
  describeStore(name, create);
}

describeSqliteStore("the SQLite store");
describeSqliteStore("the SQLite store without its threads", {
  spawn: (options) => new InThread(createRequestHandler(options)),
  spawnReader: (options) => new InThread(createReadHandler(options)),
});
