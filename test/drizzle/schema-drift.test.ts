import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { findMigrationsFolder } from "../../server/adapters/migrations-folder.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

it.each([
  { dialect: "sqlite", kind: "sqlite", schema: join("drizzle", "self-healing-schema.ts") },
  { dialect: "postgres", kind: "postgresql", schema: join("drizzle", "postgres", "self-healing-schema.ts") },
] as const)(
  "the $dialect migrations make the schema as it is: generating again finds nothing to add",
  ({ dialect, kind, schema }) => {
    const folder = mkdtempSync(join(tmpdir(), "paramedic-drift-"));
    try {
      cpSync(findMigrationsFolder(dialect), folder, { recursive: true });
      const before = readdirSync(folder, { recursive: true });
      const kit = join(dirname(createRequire(import.meta.url).resolve("drizzle-kit")), "bin.cjs");
      const said = execFileSync(
        process.execPath,
        [kit, "generate", "--dialect", kind, "--schema", schema, "--out", relative(ROOT, folder)],
        { cwd: ROOT, encoding: "utf8" },
      );
      expect(said).toContain("No schema changes");
      expect(readdirSync(folder, { recursive: true })).toEqual(before);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
