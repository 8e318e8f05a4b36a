/** Runs a server for tests so that it dies with the process that started it, however that one ends, `kill -9` included. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

export interface KeptServer {
  readonly pid: number;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
  /** `kill -9`, and its sessions are gone; port and folder stay for `restart`. */
  kill(): Promise<void>;
  /** SIGSTOP for it and all its sessions: connections stay and nothing answers. Gives how to let them go on. */
  freeze(): () => Promise<void>;
  /** Starts it again on the same port and folder after `kill`. */
  restart(): Promise<void>;
}

export interface ServerToKeep {
  /** What errors call it: `PostgreSQL`. */
  readonly name: string;
  /** Its own; removed with it. */
  readonly folder: string;
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** @default the account that runs the tests */
  readonly account?: { readonly uid: number; readonly gid: number } | undefined;
  /** What ends it and all that it started. @default "KILL" */
  readonly endWith?: "KILL" | "QUIT";
  /** It takes connections. */
  readonly answers: () => Promise<boolean>;
  /** Whatever a killed server leaves in the way of the next one. */
  readonly clear?: () => void;
}

/** The account `nobody`, for servers that refuse to run as root. */
export const NOBODY = { uid: 65_534, gid: 65_534 } as const;

/** The shell waits on a pipe from us: when we end, the pipe ends, and the shell ends the server and removes its folder. */
const KEEPER = `
folder=$1; signal=$2; shift 2
"$@" </dev/null >"$folder/log" 2>&1 &
server=$!
echo "$server"
while read -r _; do :; done
kill "-$signal" "$server" 2>/dev/null
wait "$server" 2>/dev/null
cd / && rm -rf "$folder"
`;

const START_WITHIN_MS = 15_000;

/** Resolves once it answers. */
export async function keepServer(server: ServerToKeep): Promise<KeptServer> {
  const { name, folder, command, env, account = {}, endWith = "KILL", answers, clear } = server;
  let running: { readonly keeper: ChildProcess; readonly pid: number };

  const launch = async () => {
    const keeper = spawn("/bin/sh", ["-c", KEEPER, "keeper", folder, endWith, ...command], {
      ...account,
      cwd: folder,
      env,
      stdio: ["pipe", "pipe", "ignore"],
    });
    running = { keeper, pid: await firstNumber(keeper, name) };
    for (let waitedMs = 0; !(await answers()); waitedMs += 10) {
      if (waitedMs > START_WITHIN_MS) throw new Error(`${name} did not answer: ${lastLines(join(folder, "log"))}`);
      await pause(10);
    }
  };
  const kill = async () => {
    let sessions: number[];
    try {
      sessions = sessionsOfStopped(running.pid);
      process.kill(running.pid, "SIGKILL");
    } catch {
      return;
    }
    // What one session still holds keeps the next server from starting.
    while ((await answers()) || [running.pid, ...sessions].some(isAlive)) await pause(5);
  };

  await launch();
  return {
    get pid() {
      return running.pid;
    },
    kill,
    freeze() {
      const frozen = [running.pid, ...sessionsOfStopped(running.pid)];
      const signal = (name: NodeJS.Signals) => {
        for (const pid of frozen) if (isAlive(pid)) process.kill(pid, name);
      };
      signal("SIGSTOP");
      return async () => signal("SIGCONT");
    },
    async restart() {
      await kill();
      running.keeper.kill("SIGKILL");
      clear?.();
      await launch();
    },
    async stop() {
      const ended = new Promise((resolve) => running.keeper.once("exit", resolve));
      if (running.keeper.exitCode === null) {
        running.keeper.stdin?.end();
        await ended;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function firstNumber(child: ChildProcess, name: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`the shell that keeps ${name} ended before it said its id`)));
    child.stdout?.once("data", (data: Buffer) => resolve(Number(String(data).trim())));
  });
}

/** Listed once it begins no more of them. */
function sessionsOfStopped(pid: number): number[] {
  process.kill(pid, "SIGSTOP");
  return childrenOf(pid);
}

/** Where the system tells. */
function childrenOf(pid: number): number[] {
  const threads = `/proc/${pid}/task`;
  if (!existsSync(threads)) return [];
  return readdirSync(threads).flatMap((thread) => childrenOfThread(join(threads, thread, "children")));
}

/** None of one that has ended since it was listed. */
function childrenOfThread(file: string): number[] {
  try {
    return readFileSync(file, "utf8").trim().split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** A process that has ended may stand in the table until somebody asks how. */
function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

function lastLines(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n").slice(-3).join(" | ") : "it wrote nothing";
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
