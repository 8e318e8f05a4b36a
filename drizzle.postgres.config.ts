/** Where drizzle-kit finds the PostgreSQL schema and keeps its generated migrations. */
import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: "./drizzle/postgres/self-healing-schema.ts",
  out: "./drizzle/postgres/migrations",
});
