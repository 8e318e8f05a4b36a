/** What the nemesis tells its processes to do, and what they tell it: counters, one line of JSON now and then. */
import type { Clock } from "../../server/ports/clock.js";

interface Task {
  readonly redisUrl: string;
  readonly streamKey: string;
  readonly commandTimeoutMs: number;
}

export interface ProducerTask extends Task {
  readonly instance: string;
  readonly boot: string;
  readonly seed: number;
  readonly flushIntervalMs: number;
  readonly oracleFile: string;
}

export type StoreAddress =
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "postgres"; readonly url: string };

export interface AggregatorTask extends Task {
  readonly consumer: string;
  readonly claimAfterMs: number;
  readonly store: StoreAddress;
}

export type Counters = Readonly<Record<string, number>>;

export interface Reporter {
  count(what: string): void;
  /** Counts `fault:<code>`. */
  fault(code: string): void;
  alsoTell(read: () => Counters): void;
  tell(): void;
}

const INTERVAL_MS = 100;

/** Tells whenever something changed: what a killed process counted in its last moment is not told, so counters are at least true. */
export function createReporter(clock: Clock): Reporter {
  const counts = new Map<string, number>();
  let more: () => Counters = () => ({});
  let told = "";
  const count = (what: string) => void counts.set(what, (counts.get(what) ?? 0) + 1);
  const tell = () => {
    const line = JSON.stringify({ ...Object.fromEntries(counts), ...more() });
    if (line === told) return;
    told = line;
    console.log(line);
  };
  const again = () => {
    tell();
    clock.setTimer(again, INTERVAL_MS, true);
  };
  again();
  return {
    count,
    fault: (code) => count(`fault:${code}`),
    alsoTell(read) {
      more = read;
    },
    tell,
  };
}
