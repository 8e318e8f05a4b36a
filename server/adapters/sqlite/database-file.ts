/** The file behind the store: made with mode 0600, refused in words when it cannot be, and told from one that took its place. */
import { chmodSync, closeSync, constants, openSync, type Stats, statSync } from "node:fs";
import { dirname } from "node:path";
import { ParamedicError } from "../../../shared/errors.js";

export const PRIVATE_MODE = 0o600;

/** Names one file, whatever its path. */
export interface FileIdentity {
  readonly device: number;
  readonly inode: number;
}

/**
 * Sees that `path` is a file this process may write, and makes an empty one where there is none. Gives whether it did.
 *
 * @throws ParamedicError STORE_UNAVAILABLE
 */
export function prepareFile(path: string): { readonly created: boolean } {
  if (path === "" || path === ":memory:") {
    throw unavailable(path, "SQLite must be a file, because two connections share it; name one");
  }
  const found = statOf(path);
  if (found?.isDirectory()) throw unavailable(path, "it is a directory; name a file in it");
  if (!found && !statOf(dirname(path))?.isDirectory()) {
    throw unavailable(path, `the folder ${dirname(path)} does not exist; create it or name another file`);
  }
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_CREAT, PRIVATE_MODE));
  } catch (cause) {
    throw unavailable(path, `it cannot be opened for writing; give this user the right to (${codeOf(cause)})`, cause);
  }
  return { created: found === undefined };
}

/** A file of ours is nobody else's to read. Where the file system knows no modes, it stays as it is. */
export function makePrivate(path: string): void {
  try {
    chmodSync(path, PRIVATE_MODE);
  } catch {}
}

/** @throws ParamedicError STORE_UNAVAILABLE when there is no file. */
export function identityOf(path: string): FileIdentity {
  const found = statOf(path);
  if (!found) throw unavailable(path, "the file is gone; put it back, else the next attempt makes a new one");
  return { device: found.dev, inode: found.ino };
}

/**
 * An open connection goes on writing into a file that was removed or replaced, and nobody ever reads it there.
 *
 * @throws ParamedicError STORE_UNAVAILABLE
 */
export function assertSameFile(path: string, opened: FileIdentity): void {
  const present = identityOf(path);
  if (present.device !== opened.device || present.inode !== opened.inode) {
    throw unavailable(path, "the file was replaced while it was open; the next attempt opens the new one");
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw unavailable(path, `it cannot be looked at; check the path and its rights (${codeOf(cause)})`, cause);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}

function unavailable(path: string, what: string, cause?: unknown): ParamedicError {
  return new ParamedicError("STORE_UNAVAILABLE", `the database ${path === "" ? '""' : path}: ${what}`, { cause });
}
