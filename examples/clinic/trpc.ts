/** The clinic's tRPC: its context and its base procedure. */
import { initTRPC } from "@trpc/server";
import type { CreateExpressContextOptions } from "@trpc/server/adapters/express";
import superjson from "superjson";

export interface Context {
  readonly user: { readonly id: string; readonly isAdmin: boolean } | undefined;
}

export const t = initTRPC.context<Context>().create({ transformer: superjson });

/** Whoever presents the admin token is the admin; everybody else is a visitor. */
export function createContextWith(adminToken: string | undefined) {
  return ({ req }: CreateExpressContextOptions): Context => {
    const isAdmin = adminToken !== undefined && req.headers.authorization === `Bearer ${adminToken}`;
    return { user: isAdmin ? { id: "admin", isAdmin } : undefined };
  };
}
