/** Starts the demo's processes, waits until each is ready, and makes sure that none outlives the demo. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { appendFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface Child<Ready> {
  /** What the process said when it was ready. */
  readonly ready: Ready;
  readonly pid: number;
  send(message: object): void;
  /** Asks it to end, and ends it after 15 s if it has not. */
  stop(): Promise<void>;
  /** Ends it as a power cut would. */
  kill(): Promise<void>;
}

export interface ChildOptions {
  /** Path of the script, relative to `examples/`. */
  readonly script: string;
  readonly args?: readonly string[];
  /** Added to this process's own; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where its output goes; without it nowhere, except for what it said before it failed to start. */
  readonly logFile?: string | undefined;
}

const START_WITHIN_MS = 30_000;
/** Longer than Paramedic's own deadline for shutting down. */
const STOP_WITHIN_MS = 15_000;

/** Every process that was started here and has not ended, with the promise of its end. */
const alive = new Map<ChildProcess, Promise<unknown>>();
process.on("exit", () => {
  for (const child of alive.keys()) child.kill("SIGKILL");
});

/** Asks every process that was started here to end, and ends those that have not after 15 s. */
export async function stopChildren(): Promise<void> {
  await Promise.all([...alive.keys()].map(stopChild));
}

async function stopChild(child: ChildProcess): Promise<void> {
  const force = setTimeout(() => child.kill("SIGKILL"), STOP_WITHIN_MS);
  child.kill("SIGTERM");
  await alive.get(child);
  clearTimeout(force);
}

/** Rejects with the last lines of its output when the process ends before it is ready. */
export async function startChild<Ready>({ script, args, env, logFile }: ChildOptions): Promise<Child<Ready>> {
  const child = fork(fileURLToPath(new URL(`../${script}`, import.meta.url)), args ?? [], {
    env: { ...process.env, ...env },
    execArgv: ["--import", "tsx"],
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  const ended = once(child, "exit").then(() => alive.delete(child));
  alive.set(child, ended);
  let tail = "";
  const keep = (chunk: Buffer) => {
    tail = (tail + chunk.toString("utf8")).slice(-2_000);
    if (logFile !== undefined) appendFileSync(logFile, chunk);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);

  const timer = setTimeout(() => child.kill("SIGKILL"), START_WITHIN_MS);
  const ready = await Promise.race([
    once(child, "message").then(([message]) => (message as { ready: Ready }).ready),
    ended.then(() => Promise.reject(new Error(`${script} ended before it was ready:\n${tail}`))),
  ]).finally(() => clearTimeout(timer));

  return Object.freeze({
    ready,
    pid: child.pid ?? 0,
    send(message: object) {
      if (child.connected) child.send(message);
    },
    stop: () => stopChild(child),
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  });
}
