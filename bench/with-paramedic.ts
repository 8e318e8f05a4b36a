/** A Paramedic as an app has it, on a database file of its own, for as long as `use` runs. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createParamedic, type Paramedic } from "../server/index.js";

export async function withParamedic<T>(use: (paramedic: Paramedic) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "paramedic-bench-"));
  const paramedic = createParamedic({ database: `file:${join(folder, "bench.db")}`, redis: false, logger: false });
  try {
    await paramedic.ready;
    return await use(paramedic);
  } finally {
    await paramedic.shutdown();
    await rm(folder, { recursive: true, force: true });
  }
}
