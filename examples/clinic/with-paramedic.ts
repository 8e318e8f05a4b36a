/** The same clinic, healing itself. Every line that names `paramedic` or `llm` is what was added. */
import { createExpressMiddleware } from "@trpc/server/adapters/express";
import express from "express";
import { AWAY, FRONT_DESK, messagesFor, textOf } from "./assistant.js";
import { openClinicDatabase } from "./database.js";
import { createParamedic } from "./paramedic.js";
import { clinicRoutes } from "./routes.js";
import type { ClinicSettings } from "./settings.js";
import { type Context, createContextWith, t } from "./trpc.js";

export function createClinic(settings: ClinicSettings) {
  const paramedic = createParamedic<Context>({
    authorize: ({ ctx }) => (ctx.user?.isAdmin ? "operate" : undefined),
  });
  const llm = paramedic.llm({
    providers: settings.providers,
    timeoutMs: settings.askTimeoutMs,
    fallback: () => AWAY,
  });
  const db = paramedic.guardDatabase("db:clinic", openClinicDatabase(settings.database, settings.busyTimeoutMs));

  const appRouter = t.router({
    ...clinicRoutes({
      procedure: t.procedure.use(paramedic.middleware()),
      async ask(question) {
        const { value, rescue } = await llm.chatDetailed({ messages: messagesFor(question) });
        return { text: textOf(value), answeredBy: rescue.target?.replace(/^llm:/, "") ?? FRONT_DESK };
      },
      db,
      transaction: (work) => paramedic.transaction(db, work, { timeoutMs: settings.transactionTimeoutMs }),
    }),
    health: paramedic.healthProcedure,
    paramedic: paramedic.router,
  });

  const app = express();
  app.use(
    "/trpc",
    createExpressMiddleware({
      router: appRouter,
      createContext: createContextWith(settings.adminToken),
      onError: paramedic.onError,
    }),
  );
  app.use(paramedic.express());
  return {
    app,
    appRouter,
    async close() {
      await paramedic.shutdown();
      db.$client.close();
    },
  };
}
