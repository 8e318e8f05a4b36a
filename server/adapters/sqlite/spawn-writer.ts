/** Starts the writer's thread, from the sources as well as from the built package. */
import { Worker } from "node:worker_threads";
import type { WriterOptions } from "./writer-protocol.js";

/** The name of the entry, in the sources and, as its own file beside the chunk with this code, in `dist/`. */
const WORKER_NAME = "sqlite-writer.worker";

export function spawnWriter(options: WriterOptions): Worker {
  const extension = /\.[cm]?[jt]s(?=$|\?)/.exec(import.meta.url)?.[0] ?? ".js";
  const entry = new URL(`./${WORKER_NAME}${extension}`, import.meta.url);
  entry.search = "";
  if (!extension.endsWith("ts")) return new Worker(entry, { workerData: options, execArgv: [], name: WORKER_NAME });
  // Only in the sources: Node does not resolve `.js` specifiers to `.ts` files, tsx in the worker does.
  const tsx = import.meta.resolve("tsx/esm/api");
  const boot = `import(${JSON.stringify(tsx)}).then((tsx) => { tsx.register(); return import(${JSON.stringify(entry.href)}); })`;
  return new Worker(boot, { eval: true, workerData: options, execArgv: [], name: WORKER_NAME });
}
