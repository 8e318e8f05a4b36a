/** The writer's thread: takes one request at a time and answers it. All it does is in `request-handler.ts`. */
import { parentPort, workerData } from "node:worker_threads";
import { createRequestHandler } from "./request-handler.js";
import type { WriterRequest } from "./thread-protocol.js";

const port = parentPort;
const handle = createRequestHandler(workerData);

port?.on("message", (request: WriterRequest) => {
  port.postMessage(handle(request));
  if (request.command === "close") port.close();
});
