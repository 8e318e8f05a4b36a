/**
 * Room that a full disk leaves to retention. SQLite writes even to delete, so without it a full disk keeps itself full: a file
 * of zeros beside the database is given up for the deleting, and made again once there is room.
 */
import { closeSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { PRIVATE_MODE } from "./database-file.js";

export interface DiskReserve {
  /** Has the file, where there is room for it. Never throws. */
  keep(): void;
  /** Gives it up, if there is one. */
  release(): void;
}

/** What the write-ahead log grows to before it is written back. */
const RESERVE_BYTES = 4 << 20;

export function createDiskReserve(path: string): DiskReserve {
  const file = `${path}.reserve`;
  const sizeOf = () => statSync(file, { throwIfNoEntry: false })?.size;
  return {
    keep() {
      try {
        if (sizeOf() !== undefined) return;
        const descriptor = openSync(file, "wx", PRIVATE_MODE);
        try {
          const zeros = Buffer.alloc(RESERVE_BYTES);
          for (let at = 0; at < RESERVE_BYTES; ) at += writeSync(descriptor, zeros, at);
        } finally {
          closeSync(descriptor);
        }
      } catch {
        // No room, or another process makes it: a part of it would be no reserve.
        if (sizeOf() !== RESERVE_BYTES) rmSync(file, { force: true });
      }
    },
    release() {
      rmSync(file, { force: true });
    },
  };
}
