/** Where log lines go. pino fits as it is; any object with these four methods does. A logger that throws is ignored. */
import type { JsonObject } from "../../shared/failure.js";

export interface Logger {
  debug(fields: JsonObject, message: string): void;
  info(fields: JsonObject, message: string): void;
  warn(fields: JsonObject, message: string): void;
  error(fields: JsonObject, message: string): void;
}

export const silentLogger: Logger = Object.freeze({
  debug() {},
  info() {},
  warn() {},
  error() {},
});
