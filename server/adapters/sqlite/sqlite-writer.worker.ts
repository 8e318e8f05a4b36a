/** The writer's thread: takes one command at a time and answers it. All it does is in `sqlite-writer.ts`. */
import { parentPort, workerData } from "node:worker_threads";
import { migrateSqlite } from "./migrate.js";
import { storeErrorOf } from "./sqlite-errors.js";
import { createSqliteWriter, type SqliteWriter } from "./sqlite-writer.js";
import { plainErrorOf, type WriterOptions, type WriterReply, type WriterRequest } from "./writer-protocol.js";

const port = parentPort;
const { path, busyTimeoutMs, migrationTimeoutMs }: WriterOptions = workerData;
let writer: SqliteWriter | undefined;

port?.on("message", (request: WriterRequest) => {
  port.postMessage(answer(request));
  if (request.command === "close") port.close();
});

function answer({ id, command, args }: WriterRequest): WriterReply {
  try {
    return { id, ok: true, result: run(command, args) };
  } catch (error) {
    return { id, ok: false, error: plainErrorOf(storeErrorOf(error, path)) };
  }
}

function run(command: WriterRequest["command"], args: readonly unknown[]): unknown {
  switch (command) {
    case "open":
      writer?.close();
      writer = undefined;
      migrateSqlite(path, { busyTimeoutMs: migrationTimeoutMs });
      writer = createSqliteWriter(path, { busyTimeoutMs });
      return undefined;
    case "close":
      writer?.close();
      writer = undefined;
      return undefined;
    default:
      // A thread that took over from one that crashed connects with its first command.
      writer ??= createSqliteWriter(path, { busyTimeoutMs });
      return Reflect.apply(writer.commands[command], undefined, [...args]);
  }
}
