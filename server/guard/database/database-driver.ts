/** What guards and transactions need of a driver whose database is a server: connections, lent one at a time. */
import type { Clock } from "../../ports/clock.js";
import type { DatabaseSystem } from "./query-name.js";

/** A connection in the hands of one statement or one transaction. Either `giveBack` or `destroy` ends it, the first one. */
export interface LentConnection {
  /** What a session of Drizzle takes as its client. */
  readonly client: object;
  giveBack(): void;
  /** For a connection that hangs or may be in an unknown state: nobody gets it again. */
  destroy(): void;
}

export interface DatabaseDriver {
  readonly system: Exclude<DatabaseSystem, "sqlite">;
  /** Connections come from a pool, so that a new one takes the place of a broken one. */
  readonly isPool: boolean;
  /** `lend` waits until a connection is free; else that happens inside of the driver, where nobody can measure it. */
  readonly hasQueue: boolean;
  lend(clock: Clock): Promise<LentConnection>;
  /**
   * Gives up every connection that was made before now, as far as nobody uses it, and lends one that was made since. Rejects
   * while none can be made.
   */
  renew(clock: Clock): Promise<LentConnection>;
  /** One statement without values. */
  ask(client: object, sql: string): Promise<readonly object[]>;
  /** Told of connections that break while nobody uses them; without a listener that would end the process. */
  onIdleError(listener: (error: unknown) => void): void;
}

/** Makes a connection's end happen once, whatever is called how often. */
export function lent(client: object, end: { giveBack(): void; destroy(): void }): LentConnection {
  let isOver = false;
  const once = (run: () => void) => () => {
    if (isOver) return;
    isOver = true;
    run();
  };
  return { client, giveBack: once(end.giveBack), destroy: once(end.destroy) };
}
