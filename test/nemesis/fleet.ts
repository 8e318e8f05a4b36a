/** The processes of one run: two producers and two aggregators, each replaced by a new life when it was killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { ScriptBundle } from "../support/script-bundle.js";
import { readTestimony, type Testimony } from "./oracle.js";
import type { Counters, StoreAddress } from "./reports.js";

export interface FleetOptions {
  readonly bundle: ScriptBundle<Role>;
  readonly folder: string;
  readonly redisUrl: string;
  readonly streamKey: string;
  readonly store: StoreAddress;
  readonly seed: number;
}

export interface Fleet {
  /** `kill -9`, and after a while a new life. */
  kill(role: Role, place: number, awayMs: number): Promise<void>;
  /** SIGSTOP, and after a while SIGCONT. */
  pause(role: Role, place: number, forMs: number): Promise<void>;
  /** Lets producers end in peace: what they hold is sent first. */
  endProducers(): Promise<void>;
  endAggregators(): Promise<void>;
  /** What all lives of all processes counted, added up. */
  counters(): Counters;
  testimonies(): readonly Testimony[];
  /** Ends what still runs. */
  dispose(): Promise<void>;
}

export type Role = "producer" | "aggregator";

const FLUSH_INTERVAL_MS = 100;
const COMMAND_TIMEOUT_MS = 400;
const CLAIM_AFTER_MS = 1_500;

interface Life {
  readonly process: ChildProcess;
  readonly ended: Promise<unknown>;
  readonly counters: () => Counters;
}

/** @example const fleet = startFleet({ bundle, folder, redisUrl, streamKey, store, seed: 1 }); */
export function startFleet({ bundle, folder, redisUrl, streamKey, store, seed }: FleetOptions): Fleet {
  const lives: Life[] = [];
  const boots: string[] = [];
  const running: Record<Role, Life[]> = { producer: [], aggregator: [] };

  const begin = (role: Role, place: number): Life => {
    const name = `${role}-${place}-${lives.length}`;
    const task = { redisUrl, streamKey, commandTimeoutMs: COMMAND_TIMEOUT_MS };
    const oracleFile = join(folder, `${name}.oracle`);
    if (role === "producer") boots.push(name);
    const life = startLife(
      bundle.fileOf(role),
      role === "producer"
        ? {
            ...task,
            instance: `web-${place}`,
            boot: name,
            seed: seed + lives.length,
            flushIntervalMs: FLUSH_INTERVAL_MS,
            oracleFile,
          }
        : { ...task, consumer: name, claimAfterMs: CLAIM_AFTER_MS, store },
    );
    lives.push(life);
    running[role][place] = life;
    return life;
  };

  for (const place of [0, 1]) {
    begin("producer", place);
    begin("aggregator", place);
  }
  const at = (role: Role, place: number): Life => running[role][place % 2] ?? begin(role, place % 2);
  const endAll = (role: Role) =>
    Promise.all(
      running[role].map(async ({ process, ended }) => {
        process.stdin?.write("end\n");
        await ended;
      }),
    );

  return {
    async kill(role, place, awayMs) {
      const { process, ended } = at(role, place);
      process.kill("SIGKILL");
      await ended;
      await pause(awayMs);
      begin(role, place % 2);
    },
    async pause(role, place, forMs) {
      const { process } = at(role, place);
      process.kill("SIGSTOP");
      await pause(forMs);
      process.kill("SIGCONT");
    },
    endProducers: async () => void (await endAll("producer")),
    endAggregators: async () => void (await endAll("aggregator")),
    counters() {
      const sums = new Map<string, number>();
      for (const life of lives) {
        for (const [what, count] of Object.entries(life.counters())) sums.set(what, (sums.get(what) ?? 0) + count);
      }
      return Object.fromEntries(sums);
    },
    testimonies: () => boots.map((boot) => readTestimony(boot, join(folder, `${boot}.oracle`), FLUSH_INTERVAL_MS)),
    async dispose() {
      for (const { process } of lives) process.kill("SIGKILL");
      await Promise.all(lives.map(({ ended }) => ended));
    },
  };
}

function startLife(script: string, task: object): Life {
  const child = spawn(process.execPath, [script, JSON.stringify(task)], { stdio: ["pipe", "pipe", "inherit"] });
  // Writing to one that was just killed is no error of ours.
  child.stdin.on("error", () => undefined);
  let counters: Counters = {};
  createInterface({ input: child.stdout }).on("line", (line) => {
    counters = JSON.parse(line);
  });
  return { process: child, ended: once(child, "exit"), counters: () => counters };
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
