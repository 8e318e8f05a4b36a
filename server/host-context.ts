/** What the host app says of the context that it made for a call: who asks, and what he may do. */
import type { Role } from "../shared/access.js";
import type { CallerIdentity, ParamedicOptions } from "./options.js";

/** Denied by default: without `authorize`, or when it throws, nobody has a role. */
export function accessBy<Context extends object>(
  authorize: ParamedicOptions<Context>["authorize"],
  identify: (ctx: unknown) => CallerIdentity | undefined,
): (ctx: object) => Promise<{ readonly role: Role | undefined; readonly actor: string }> {
  return async (ctx) => {
    try {
      const role = await authorize?.({ ctx: asContext<Context>(ctx) });
      return {
        role: role === "read" || role === "operate" ? role : undefined,
        actor: identify(ctx)?.userId ?? "unnamed",
      };
    } catch {
      return { role: undefined, actor: "unnamed" };
    }
  };
}

/** Nobody is named where the context is no object. */
export function identifyBy<Context extends object>(
  identify: ParamedicOptions<Context>["identify"],
): (ctx: unknown) => CallerIdentity | undefined {
  return (ctx) => (typeof ctx === "object" && ctx !== null ? identify?.({ ctx: asContext<Context>(ctx) }) : undefined);
}

/** The host app's adapter made this object with the `createContext` of the app that `Context` was taken from. */
function asContext<Context extends object>(ctx: object): Context {
  return ctx as Context;
}
