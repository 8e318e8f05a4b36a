/**
 * A real Redis for tests: what TEST_REDIS_FROM names, else from PATH, else unpacked from Debian's packages into a cache
 * folder. Every server has its own port and folder and dies with the process that started it, however that one ends.
 */
import { existsSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { executableOnPath, libraryFolders, unpackDebianPackages, type WantedPackages } from "./debian-packages.js";
import { type KeptServer, keepServer } from "./kept-server.js";

export interface RedisServer extends KeptServer {
  readonly url: string;
  readonly port: number;
}

interface Watched {
  readonly name: string;
  readonly port: number;
  /** So long without an answer, and the master is replaced. */
  readonly downAfterMs: number;
}

interface Binary {
  /** What runs it, its own arguments not included. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const CACHE = fileURLToPath(new URL("../../node_modules/.cache/paramedic/redis", import.meta.url));
/** The libraries of another Debian want its own. */
const LOADER = process.arch === "arm64" ? "ld-linux-aarch64.so.1" : "ld-linux-x86-64.so.2";
const HOW_TO_GET_IT =
  "tests need a Redis server: install redis-server or valkey-server (6.2 or newer), or set REDIS_URL to one that tests may use";

/**
 * @param args further arguments for the server, such as `["--requirepass", "x"]`; nothing is persisted unless they say so
 * @param watches makes it a Sentinel of this master, alone in its vote
 * @example
 * const redis = await startRedis();
 * // … redis.url
 * await redis.stop();
 */
export async function startRedis({
  args = [],
  watches,
}: {
  args?: readonly string[];
  watches?: Watched;
} = {}): Promise<RedisServer> {
  const binary = findRedis();
  const folder = mkdtempSync(join(tmpdir(), "paramedic-redis-"));
  const port = await freePort();
  const sentinelFile = join(folder, "sentinel.conf");
  if (watches) writeFileSync(sentinelFile, sentinelConfig(watches));

  const place = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder];
  const command = [...binary.command, ...(watches ? [sentinelFile, "--sentinel"] : []), ...place];
  const settings = watches ? args : ["--save", "", "--appendonly", "no", "--daemonize", "no", ...args];
  const locked = args.includes("--requirepass");
  const server = await keepServer({
    name: "Redis",
    folder,
    command: [...command, ...settings],
    env: { ...process.env, ...binary.env },
    async answers() {
      const reply = await ask(port);
      return reply.startsWith("+PONG") || (locked && reply.startsWith("-NOAUTH"));
    },
  });
  return Object.assign(server, { url: `redis://127.0.0.1:${port}`, port });
}

function sentinelConfig({ name, port, downAfterMs }: Watched): string {
  return [
    `sentinel monitor ${name} 127.0.0.1 ${port} 1`,
    `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
    `sentinel failover-timeout ${name} 3000`,
    "",
  ].join("\n");
}

/**
 * Below those that a system gives to whoever names none: nobody takes one between two lives of its server. The same again for
 * the bus of a Cluster, 10,000 above.
 */
const PORTS = { first: 12_000, count: 9_000 } as const;

/** Processes that run at once begin far from each other. */
let portsTried = process.pid * 97;

/** A port nobody listens on at this moment, and which this process was not given before. */
export async function freePort(): Promise<number> {
  for (;;) {
    portsTried += 1;
    const port = PORTS.first + (portsTried % PORTS.count);
    if (await canListen(port)) return port;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

function findRedis(): Binary {
  const from = process.env.TEST_REDIS_FROM ?? "";
  if (from !== "") return findInSuite(from);
  const onPath = executableOnPath(["redis-server", "valkey-server"]);
  if (onPath !== undefined) return { command: [onPath], env: {} };
  const packages = ["redis-tools", "libjemalloc2", "liblzf1", "libatomic1"];
  const file = unpackServer(CACHE, "redis", { packages });
  return { command: [file], env: { LD_LIBRARY_PATH: libraryFolders(CACHE).join(delimiter) } };
}

/** @param from suites of Debian and a server: `trixie/valkey`, `experimental,sid/redis` */
function findInSuite(from: string): Binary {
  const [suites = "", name = ""] = from.split("/");
  const root = `${CACHE}-of-${suites}-${name}`;
  const file = unpackServer(root, name, { packages: [`${name}-tools`], suites: suites.split(",") });
  const libraries = libraryFolders(root);
  const loader = libraries.map((folder) => join(folder, LOADER)).find((path) => existsSync(path));
  if (loader === undefined) throw new Error(`${from} came without ${LOADER}, which its libraries need`);
  return { command: [loader, "--library-path", libraries.join(delimiter), file], env: {} };
}

/** Debian ships server and checker as one file that looks at its own name. */
function unpackServer(root: string, name: string, wanted: Pick<WantedPackages, "packages" | "suites">): string {
  const file = `usr/bin/${name}-server`;
  const prepare = (unpacked: string) => {
    if (!existsSync(join(unpacked, file))) symlinkSync(`${name}-check-rdb`, join(unpacked, file));
  };
  unpackDebianPackages(root, { ...wanted, file, howToGetIt: HOW_TO_GET_IT, prepare });
  return join(root, file);
}

function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    const end = (reply: string) => {
      socket.destroy();
      resolve(reply);
    };
    socket.once("data", (data) => end(String(data)));
    socket.once("error", () => end(""));
    socket.setTimeout(500, () => end(""));
  });
}
