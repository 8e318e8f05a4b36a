/** Scripts as plain JavaScript, for processes that start so often that compiling them each time would be most of the load. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "tsdown";

export interface ScriptBundle<Name extends string> {
  fileOf(name: Name): string;
  remove(): void;
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Below the project's folder, where migrations and dependencies are found as ever; the store's thread is beside them.
 *
 * @param scripts by name, their paths from the project's folder
 */
export async function bundleScripts<Name extends string>(
  scripts: Readonly<Record<Name, string>>,
): Promise<ScriptBundle<Name>> {
  const cache = join(ROOT, "node_modules/.cache/paramedic");
  mkdirSync(cache, { recursive: true });
  const outDir = mkdtempSync(join(cache, "scripts-"));
  await build({
    cwd: ROOT,
    config: false,
    entry: {
      ...scripts,
      "sqlite-writer.worker": "server/adapters/sqlite/sqlite-writer.worker.ts",
      "sqlite-reader.worker": "server/adapters/sqlite/sqlite-reader.worker.ts",
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
    fileOf: (name) => join(outDir, `${name}.js`),
    remove: () => rmSync(outDir, { recursive: true, force: true }),
  };
}
