/** SQLite on a disk that is really full, in each way in which it writes. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { onSmallDisk } from "../../services/small-disk.js";

it.each(["WAL", "DELETE"])(
  "goes on reading, refuses writes, and takes them again when there is room: %s",
  async (mode) => {
    const folder = mkdtempSync(join(tmpdir(), "paramedic-full-disk-"));
    const [disk, seed] = [join(folder, "disk"), join(folder, "seed")];
    for (const made of [disk, seed]) mkdirSync(made);
    try {
      const script = fileURLToPath(new URL("full-disk.child.ts", import.meta.url));
      const node = [process.execPath, "--import", import.meta.resolve("tsx"), script, disk, mode];
      const [command = "", ...args] = onSmallDisk({ folder: disk, seed, megabytes: 4, account: undefined }, node);
      const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
      expect(JSON.parse(await text(child.stdout))).toEqual({
        first: "SQLITE_FULL",
        refused: "read_only",
        why: "takes no writes, because its disk is full; reads go on",
        canRead: true,
        circuit: "closed",
        integrity: "ok",
        failures: ["disk_full"],
        rescues: ["read_only_mode succeeded", "writes_resumed succeeded"],
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  60_000,
);
