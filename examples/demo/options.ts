/** What may be said on the command line of the demo. */
import { parseArgs } from "node:util";

export interface DemoOptions {
  /** How many times as fast as the schedule is written; 1 to 20. */
  readonly speed: number;
  /** Ends after the report instead of staying up. */
  readonly once: boolean;
  /** Another story than the committed one. */
  readonly schedule: string | undefined;
  /** Where the databases and logs stay; without it a temporary folder that is removed at the end. */
  readonly folder: string | undefined;
}

export const USAGE = `npm run demo -- [--speed 1..20] [--once] [--schedule <file>] [--folder <path>]

  --speed     how many times as fast the story is played: times, rates and settings alike (1)
  --once      end after the report; without it the clinic stays up until Ctrl-C
  --schedule  play another story (examples/demo/schedule.json)
  --folder    keep the databases and logs in this new or empty folder (a temporary one, removed at the end)`;

/** @throws Error saying which argument is wrong and what is legal */
export function readOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      speed: { type: "string", default: "1" },
      once: { type: "boolean", default: false },
      schedule: { type: "string" },
      folder: { type: "string" },
    },
  });
  const speed = Number(values.speed);
  if (!(speed >= 1 && speed <= 20)) throw new Error(`--speed: got ${values.speed}; legal: 1 to 20`);
  return { speed, once: values.once, schedule: values.schedule, folder: values.folder };
}
