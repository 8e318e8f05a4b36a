/** Retention on a disk that is really full: what makes room must not need any. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { onSmallDisk } from "../../services/small-disk.js";

it("deletes what is past its time on a disk without a free byte, and then takes writes again", async () => {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-full-disk-"));
  const [disk, seed] = [join(folder, "disk"), join(folder, "seed")];
  for (const made of [disk, seed]) mkdirSync(made);
  try {
    const script = fileURLToPath(new URL("full-disk.child.ts", import.meta.url));
    const node = [process.execPath, "--import", import.meta.resolve("tsx"), script, disk];
    const [command = "", ...args] = onSmallDisk({ folder: disk, seed, megabytes: 16, account: undefined }, node);
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    const { deleted, ...told } = JSON.parse(await text(child.stdout));
    expect(told).toEqual({ full: "STORE_UNAVAILABLE", left: 0 });
    expect(deleted).toBeGreaterThanOrEqual(500);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
