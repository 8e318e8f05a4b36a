/** The clinic as a team writes it first: one provider through its SDK with the SDK's own settings, and plain Drizzle. */
import { createExpressMiddleware } from "@trpc/server/adapters/express";
import express from "express";
import OpenAI from "openai";
import { messagesFor, textOf } from "./assistant.js";
import { openClinicDatabase } from "./database.js";
import { clinicRoutes } from "./routes.js";
import type { ClinicSettings } from "./settings.js";
import { createContextWith, t } from "./trpc.js";

export function createPlainClinic(settings: ClinicSettings) {
  const db = openClinicDatabase(settings.database, settings.busyTimeoutMs);
  const [provider] = settings.providers;
  if (!provider) throw new Error("the clinic needs a provider: CLINIC_PROVIDERS=openai=https://api.openai.com/v1");
  const openai = new OpenAI({ baseURL: provider.baseURL, apiKey: provider.apiKey });

  const appRouter = t.router(
    clinicRoutes({
      procedure: t.procedure,
      async ask(question) {
        const completion = await openai.chat.completions.create({
          model: provider.model,
          messages: messagesFor(question),
        });
        return { text: textOf(completion), answeredBy: provider.name };
      },
      db,
      transaction: async (work) => db.transaction(work, { behavior: "immediate" }),
    }),
  );

  const app = express();
  app.use(
    "/trpc",
    createExpressMiddleware({ router: appRouter, createContext: createContextWith(settings.adminToken) }),
  );
  return { app, close: async () => db.$client.close() };
}
