/** The reader's thread: takes one request at a time and answers it. All it does is in `read-handler.ts`. */
import { parentPort, workerData } from "node:worker_threads";
import { createReadHandler } from "./read-handler.js";
import type { ReaderRequest } from "./thread-protocol.js";

const port = parentPort;
const handle = createReadHandler(workerData);

port?.on("message", (request: ReaderRequest) => {
  port.postMessage(handle(request));
  if (request.command === "close") port.close();
});
