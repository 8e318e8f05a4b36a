/** The logger that Paramedic uses unless it is given another: pino, one JSON line per event, to standard output. */
import { pino } from "pino";
import type { Logger } from "../ports/logger.js";

/** @example createPinoLogger({ instance: "web-1" }).info({ event: "circuit" }, "llm:openai opened") */
export function createPinoLogger({ instance }: { readonly instance: string }): Logger {
  return pino({ name: "paramedic", base: { instance } });
}
