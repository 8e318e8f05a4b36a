/** Lets few long reads run at once and the others wait in order, so that they never take the connections that writes need. */
import { ParamedicError } from "../../../shared/errors.js";

export interface ReadTurns {
  /** @throws what `read` throws; ParamedicError STORE_UNAVAILABLE at once when too many wait already */
  run<T>(read: () => Promise<T>): Promise<T>;
}

export function createReadTurns(limits: { readonly atOnce: number; readonly mostWaiting: number }): ReadTurns {
  const waiting: (() => void)[] = [];
  let running = 0;

  const turn = (): Promise<void> | undefined => {
    if (running < limits.atOnce) {
      running += 1;
      return undefined;
    }
    if (waiting.length >= limits.mostWaiting) {
      throw new ParamedicError("STORE_UNAVAILABLE", `${waiting.length} reads already wait for the database`);
    }
    return new Promise((resolve) => waiting.push(resolve));
  };

  /** Whoever is next takes the turn over: nobody who comes later can get in between. */
  const pass = () => {
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  };

  return {
    async run(read) {
      await turn();
      try {
        return await read();
      } finally {
        pass();
      }
    },
  };
}
