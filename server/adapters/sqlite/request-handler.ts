/** Answers what the main thread asks of the writer: one request, one reply, no throw. */
import { migrateSqlite } from "./migrate.js";
import { storeErrorOf } from "./sqlite-errors.js";
import { createSqliteWriter, type SqliteWriter } from "./sqlite-writer.js";
import { plainErrorOf, type ThreadReply, type WriterOptions, type WriterRequest } from "./thread-protocol.js";

export function createRequestHandler(options: WriterOptions): (request: WriterRequest) => ThreadReply {
  const { path, busyTimeoutMs, migrationTimeoutMs } = options;
  let writer: SqliteWriter | undefined;

  const disconnect = () => {
    const connected = writer;
    writer = undefined;
    connected?.close();
  };

  const run = (command: WriterRequest["command"], args: readonly unknown[]): unknown => {
    switch (command) {
      case "open":
        disconnect();
        migrateSqlite(path, { busyTimeoutMs: migrationTimeoutMs });
        writer = createSqliteWriter(path, { busyTimeoutMs });
        return undefined;
      case "close":
        disconnect();
        return undefined;
      default:
        // A thread that took over from one that crashed connects with its first command.
        writer ??= createSqliteWriter(path, { busyTimeoutMs });
        return Reflect.apply(writer.commands[command], undefined, [...args]);
    }
  };

  return ({ id, command, args }) => answerOf({ id, path }, () => run(command, args));
}

/** What a thread says of a request, whatever becomes of it. */
export function answerOf(
  { id, path }: { readonly id: number; readonly path: string },
  run: () => unknown,
): ThreadReply {
  try {
    return { id, ok: true, result: run() };
  } catch (error) {
    return { id, ok: false, error: plainErrorOf(storeErrorOf(error, path)) };
  }
}
