/** Where drizzle-kit finds the schema and keeps the generated migrations. */
import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "sqlite",
  schema: "./drizzle/self-healing-schema.ts",
  out: "./drizzle/sqlite/migrations",
});
