/** Starts a thread of the store, from the sources as well as from the built package. */
import { Worker } from "node:worker_threads";
import type { ReaderOptions, WriterOptions } from "./thread-protocol.js";

/** The names of the entries, in the sources and, as files of their own beside the chunk with this code, in `dist/`. */
const WRITER_NAME = "sqlite-writer.worker";
const READER_NAME = "sqlite-reader.worker";

export function spawnWriter(options: WriterOptions): Worker {
  return spawn(WRITER_NAME, options);
}

export function spawnReader(options: ReaderOptions): Worker {
  return spawn(READER_NAME, options);
}

function spawn(name: string, workerData: ReaderOptions): Worker {
  const extension = /\.[cm]?[jt]s(?=$|\?)/.exec(import.meta.url)?.[0] ?? ".js";
  const entry = new URL(`./${name}${extension}`, import.meta.url);
  entry.search = "";
  if (!extension.endsWith("ts")) return new Worker(entry, { workerData, execArgv: [], name });
  // Only in the sources: Node does not resolve `.js` specifiers to `.ts` files, tsx in the worker does.
  const tsx = import.meta.resolve("tsx/esm/api");
  const boot = `import(${JSON.stringify(tsx)}).then((tsx) => { tsx.register(); return import(${JSON.stringify(entry.href)}); })`;
  return new Worker(boot, { eval: true, workerData, execArgv: [], name });
}
