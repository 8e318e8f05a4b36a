import { EventEmitter } from "node:events";
import { afterAll } from "vitest";
import { createRequestHandler } from "../../../server/adapters/sqlite/request-handler.js";
import { createSqliteStore, type SqliteStoreDeps } from "../../../server/adapters/sqlite/sqlite-store.js";
import type { WriterThread } from "../../../server/adapters/sqlite/writer-client.js";
import type { WriterOptions, WriterRequest } from "../../../server/adapters/sqlite/writer-protocol.js";
import { describeStore } from "../../conformance/store.js";
import { createFakeClock } from "../../support/fake-clock.js";
import { createTempFolder } from "./temp-database.js";

/** The thread's work done in this thread, where a debugger and a coverage report can see it. */
class InThread extends EventEmitter implements WriterThread {
  readonly #handle: ReturnType<typeof createRequestHandler>;

  constructor(options: WriterOptions) {
    super();
    this.#handle = createRequestHandler(options);
  }
  postMessage(request: WriterRequest) {
    const reply = structuredClone(this.#handle(structuredClone(request)));
    queueMicrotask(() => this.emit("message", reply));
  }
  ref() {}
  unref() {}
  async terminate() {}
}

/** Each test finds a new file: the stores notice that theirs is gone and open the path anew, in the threads they have. */
function describeSqliteStore(name: string, spawn?: SqliteStoreDeps["spawn"]): void {
  const { path, removeDatabase, remove } = createTempFolder();
  const clock = createFakeClock();
  const store = createSqliteStore({ clock, spawn }, { path });
  const second = createSqliteStore({ clock, spawn }, { path });

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
describeSqliteStore("the SQLite store without its thread", (options) => new InThread(options));
