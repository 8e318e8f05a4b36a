/** Answers what the main thread asks of the reader: ranges of many series, and sums over rows. One request, one reply, no throw. */
import { answerOf } from "./request-handler.js";
import { createSqliteReader, type SqliteReader } from "./sqlite-reader.js";
import type { ReaderOptions, ReaderRequest, ThreadReply } from "./thread-protocol.js";

export function createReadHandler({ path, busyTimeoutMs }: ReaderOptions): (request: ReaderRequest) => ThreadReply {
  let reader: SqliteReader | undefined;

  const disconnect = () => {
    const connected = reader;
    reader = undefined;
    connected?.close();
  };

  /** The file may be another one than at the last request: then it is this one that is read. */
  const connected = (): SqliteReader => {
    try {
      reader?.assertSameFile();
    } catch {
      disconnect();
    }
    reader ??= createSqliteReader(path, { busyTimeoutMs });
    return reader;
  };

  const run = (command: ReaderRequest["command"], args: readonly unknown[]): unknown => {
    switch (command) {
      case "open":
        connected();
        return undefined;
      case "close":
        disconnect();
        return undefined;
      case "readSeries":
      case "readHeatMap":
      case "readTopProcedures":
      case "countActions":
      case "sumFailures":
      case "countTaskEnds":
      case "countAudited":
      case "listRepairEnds":
        return Reflect.apply(connected().queries[command], undefined, [...args]);
    }
  };

  return ({ id, command, args }) => answerOf({ id, path }, () => run(command, args));
}
