import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    index: "server/index.ts",
    "ai-sdk": "server/ai-sdk.ts",
    testing: "server/testing.ts",
    schema: "drizzle/self-healing-schema.ts",
    relations: "drizzle/relations.ts",
    "postgres/schema": "drizzle/postgres/self-healing-schema.ts",
    "postgres/relations": "drizzle/postgres/relations.ts",
    cli: "server/cli/paramedic.ts",
    "sqlite-reader.worker": "server/adapters/sqlite/sqlite-reader.worker.ts",
    "sqlite-writer.worker": "server/adapters/sqlite/sqlite-writer.worker.ts",
  },
  format: ["esm", "cjs"],
  dts: true,
  shims: true,
  fixedExtension: false,
  platform: "node",
  target: "node20",
  clean: true,
});
