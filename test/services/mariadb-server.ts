/**
 * A real MariaDB for tests: the program that TEST_MARIADBD names, else the one on PATH, else unpacked from Debian's packages
 * into a cache folder. Every server has its own port and folder and dies with the process that started it.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Connection, createConnection, type RowDataPacket } from "mysql2/promise";
import { executableOnPath, libraryFolders, unpackDebianPackages } from "./debian-packages.js";
import { type KeptServer, keepServer, NOBODY } from "./kept-server.js";
import { freePort } from "./redis-server.js";
import { onSmallDisk } from "./small-disk.js";

export interface MariadbServer extends KeptServer {
  /** Of its database `app`, with all rights on it and without those that pass `read_only` by. */
  readonly url: string;
  readonly port: number;
  /** Runs a statement with every right, as an operator does. */
  administer(sql: string): Promise<readonly Record<string, unknown>[]>;
}

interface Binary {
  readonly file: string;
  readonly messages: string;
  readonly env: Readonly<Record<string, string>>;
}

const CACHE = fileURLToPath(new URL("../../node_modules/.cache/paramedic/mariadb", import.meta.url));
const HOW_TO_GET_IT =
  "tests need a MariaDB server: install mariadb-server (10.6 or newer), or set TEST_MARIADBD to its mariadbd";

const PASSWORD = "p@ss:word/for?tests";

export interface MariadbSettings {
  /** Further arguments for the server, such as `["--max-connections=4"]`. */
  readonly args?: readonly string[] | undefined;
  /** A disk of this size for its data; gone when it is killed. @default the machine's */
  readonly diskMegabytes?: number | undefined;
}

/**
 * @example
 * const mariadb = await startMariadb();
 * // … mariadb.url
 * await mariadb.stop();
 */
export async function startMariadb(settings: MariadbSettings = {}): Promise<MariadbServer> {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-mariadb-"));
  try {
    return await startIn(folder, settings);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(folder: string, { args = [], diskMegabytes }: MariadbSettings): Promise<MariadbServer> {
  const binary = findMariadb();
  const isRoot = process.getuid?.() === 0;
  const account = isRoot ? NOBODY : undefined;
  const data = join(folder, "data");
  const seed = diskMegabytes === undefined ? data : join(folder, "seed");
  const temporary = join(folder, "tmp");
  for (const path of [data, temporary, join(seed, "mysql")]) mkdirSync(path, { recursive: true });
  chmodSync(folder, 0o755);
  if (isRoot)
    for (const path of [folder, data, temporary, seed, join(seed, "mysql")]) chownSync(path, NOBODY.uid, NOBODY.gid);
  const env = { ...process.env, ...binary.env };
  const common = [
    "--no-defaults",
    // Its temporary files are named after its process, which another name space may have too.
    `--tmpdir=${temporary}`,
    `--lc-messages-dir=${binary.messages}`,
    `--character-sets-dir=${join(binary.messages, "charsets")}`,
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=8M",
    ...args,
  ];
  const made = spawnSync(binary.file, [...common, `--datadir=${seed}`, "--bootstrap", "--skip-networking"], {
    ...account,
    cwd: folder,
    env,
    input: bootstrapSql(binary.messages),
    encoding: "utf8",
  });
  if (made.status !== 0)
    throw new Error(
      `mariadbd --bootstrap: ${made.error?.message ?? made.stderr.trim().split("\n").slice(-3).join(" | ")}`,
    );

  const port = await freePort();
  const mariadbd = [
    binary.file,
    ...common,
    `--datadir=${data}`,
    `--port=${port}`,
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
  ].concat(`--socket=${join(folder, "socket")}`, `--pid-file=${join(folder, "pid")}`);
  const command =
    diskMegabytes === undefined
      ? mariadbd
      : onSmallDisk({ folder: data, seed, megabytes: diskMegabytes, account }, mariadbd);
  const urlOf = (user: string) => `mysql://${user}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/app`;
  const administer = (sql: string) => runOnMariadb(urlOf("operator"), sql);
  const answers = () =>
    administer("select 1").then(
      () => true,
      () => false,
    );
  const server = await keepServer({ name: "MariaDB", folder, command, env, account, answers });
  return Object.assign(server, { url: urlOf("app"), port, administer });
}

/** One statement on a connection of its own. */
export async function runOnMariadb(url: string, sql: string): Promise<readonly Record<string, unknown>[]> {
  let connection: Connection | undefined;
  try {
    connection = await createConnection({ uri: url, connectTimeout: 1_000 });
    connection.on("error", () => undefined);
    const [rows] = await connection.query<RowDataPacket[]>(sql);
    return Array.isArray(rows) ? rows : [];
  } finally {
    connection?.destroy();
  }
}

/** The server's own tables, a database, an account that may do everything in it, and one that may do everything. */
function bootstrapSql(messages: string): string {
  const scripts = ["mysql_system_tables.sql", "mysql_system_tables_data.sql"].map((file) =>
    readFileSync(join(messages, file), "utf8"),
  );
  const own = [
    "flush privileges;",
    "create database app;",
    `create user app@'%' identified by '${PASSWORD}';`,
    "grant all on app.* to app@'%';",
    `create user operator@'%' identified by '${PASSWORD}';`,
    "grant all on *.* to operator@'%' with grant option;",
  ];
  return ["use mysql;", ...scripts, ...own, ""].join("\n");
}

function findMariadb(): Binary {
  const installed = process.env.TEST_MARIADBD ?? executableOnPath(["mariadbd"]);
  if (installed !== undefined) {
    const messages = ["share/mysql", "share/mariadb"]
      .map((folder) => join(dirname(installed), "..", folder))
      .find((folder) => existsSync(join(folder, "mysql_system_tables.sql")));
    if (messages === undefined) throw new Error(`${installed} has no share/mysql beside it; ${HOW_TO_GET_IT}`);
    return { file: installed, messages, env: {} };
  }
  unpackDebianPackages(CACHE, {
    packages: ["mariadb-server-core", "libaio1", "liburing2", "libnuma1"],
    file: "usr/sbin/mariadbd",
    howToGetIt: HOW_TO_GET_IT,
  });
  return {
    file: join(CACHE, "usr/sbin/mariadbd"),
    messages: join(CACHE, "usr/share/mysql"),
    env: { LD_LIBRARY_PATH: libraryFolders(CACHE).join(delimiter) },
  };
}
