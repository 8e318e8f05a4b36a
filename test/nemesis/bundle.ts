/** Producer and aggregator as plain JavaScript: they start so often that compiling them each time would be most of the load. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "tsdown";

export interface ProcessBundle {
  /** The file of a role. */
  fileOf(role: "producer" | "aggregator"): string;
  remove(): void;
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Below the project's folder, where migrations and dependencies are found as ever. */
export async function bundleProcesses(): Promise<ProcessBundle> {
  const cache = join(ROOT, "node_modules/.cache/paramedic");
  mkdirSync(cache, { recursive: true });
  const outDir = mkdtempSync(join(cache, "nemesis-"));
  await build({
    cwd: ROOT,
    config: false,
    entry: {
      producer: "test/nemesis/producer.ts",
      aggregator: "test/nemesis/aggregator.ts",
      "sqlite-writer.worker": "server/adapters/sqlite/sqlite-writer.worker.ts",
    },
    outDir,
    format: "esm",
    dts: false,
    platform: "node",
    target: "node20",
    fixedExtension: false,
    logLevel: "error",
  });
  return {
    fileOf: (role) => join(outDir, `${role}.js`),
    remove: () => rmSync(outDir, { recursive: true, force: true }),
  };
}
