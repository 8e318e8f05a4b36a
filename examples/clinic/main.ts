/** The clinic's process: reads the environment, listens, and closes in order when it is told to end. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { announceReady, endWithParent } from "../child-side.js";
import { readSettings } from "./settings.js";

export interface ClinicReady {
  readonly url: string;
}

endWithParent();
const settings = readSettings(process.env);
const { app, close } = settings.paramedic
  ? (await import("./with-paramedic.js")).createClinic(settings)
  : (await import("./without-paramedic.js")).createPlainClinic(settings);

const server = app.listen(settings.port, "127.0.0.1");
await once(server, "listening");

const end = async () => {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
  await close();
  process.exit(0);
};
process.once("SIGTERM", end);
process.once("SIGINT", end);

const ready: ClinicReady = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
announceReady(ready);
