/** What passes between the main thread and the threads of the store: the one that writes and the one that reads much. */
import { isParamedicError, ParamedicError, type ParamedicErrorCode } from "../../../shared/errors.js";
import type { RangeQueries } from "./range-queries.js";
import type { ReportQueries } from "./report-queries.js";
import type { WriteCommands } from "./sqlite-writer.js";

/** What can be asked of the thread that reads. */
export type ReadCommands = Pick<RangeQueries, "readSeries" | "readHeatMap" | "readTopProcedures"> & ReportQueries;

/** `open` connects, or connects anew, the writer after migrating; `close` ends the thread once it is answered. */
export interface ThreadRequest<Command extends string> {
  readonly id: number;
  readonly command: Command | "open" | "close";
  readonly args: readonly unknown[];
}

export type WriterRequest = ThreadRequest<keyof WriteCommands>;
export type ReaderRequest = ThreadRequest<keyof ReadCommands>;

export type ThreadReply =
  | { readonly id: number; readonly ok: true; readonly result: unknown }
  | { readonly id: number; readonly ok: false; readonly error: PlainError };

export interface ReaderOptions {
  readonly path: string;
  readonly busyTimeoutMs: number;
}

export interface WriterOptions extends ReaderOptions {
  readonly migrationTimeoutMs: number;
}

/** An error between threads: structured clone keeps no class and no code. */
export interface PlainError {
  readonly code: ParamedicErrorCode;
  readonly message: string;
  readonly cause: { readonly code: string | undefined; readonly message: string } | undefined;
}

export function plainErrorOf(error: ParamedicError): PlainError {
  const { cause } = error;
  if (!(cause instanceof Error)) return { code: error.code, message: error.message, cause: undefined };
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
  return { code: error.code, message: error.message, cause: { code, message: cause.message } };
}

export function errorOf({ code, message, cause }: PlainError): ParamedicError {
  if (!cause) return new ParamedicError(code, message);
  const original = Object.assign(new Error(cause.message), cause.code !== undefined && { code: cause.code });
  return new ParamedicError(code, message, { cause: original });
}

export function asParamedicError(error: unknown, message: string): ParamedicError {
  return isParamedicError(error) ? error : new ParamedicError("STORE_UNAVAILABLE", message, { cause: error });
}
