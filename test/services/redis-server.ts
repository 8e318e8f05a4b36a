/**
 * A real Redis for tests: from PATH, else unpacked from Debian's packages into a cache folder. Every server has its own port
 * and folder and dies with the process that started it, however that one ends.
 */
import { existsSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { executableOnPath, unpackDebianPackages } from "./debian-packages.js";
import { type KeptServer, keepServer } from "./kept-server.js";

export interface RedisServer extends KeptServer {
  readonly url: string;
  readonly port: number;
}

interface Binary {
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
}

const CACHE = fileURLToPath(new URL("../../node_modules/.cache/paramedic/redis", import.meta.url));
const HOW_TO_GET_IT =
  "tests need a Redis server: install redis-server or valkey-server (6.2 or newer), or set REDIS_URL to one that tests may use";

/**
 * @param args further arguments for the server, such as `["--requirepass", "x"]`; nothing is persisted unless they say so
 * @param watches makes it a Sentinel of this master, alone in its vote and quick to act
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
  watches?: { readonly name: string; readonly port: number };
} = {}): Promise<RedisServer> {
  const binary = findRedis();
  const folder = mkdtempSync(join(tmpdir(), "paramedic-redis-"));
  const port = await freePort();
  const sentinelFile = join(folder, "sentinel.conf");
  if (watches) writeFileSync(sentinelFile, sentinelConfig(watches));

  const place = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder];
  const command = watches ? [binary.file, sentinelFile, "--sentinel", ...place] : [binary.file, ...place];
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

function sentinelConfig({ name, port }: { readonly name: string; readonly port: number }): string {
  return [
    `sentinel monitor ${name} 127.0.0.1 ${port} 1`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 3000`,
    "",
  ].join("\n");
}

/** A port nobody listens on at this moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

function findRedis(): Binary {
  const onPath = executableOnPath(["redis-server", "valkey-server"]);
  if (onPath !== undefined) return { file: onPath, env: {} };
  const unpacked = join(CACHE, "usr/bin/redis-server");
  unpackDebianPackages(CACHE, {
    packages: ["redis-tools", "libjemalloc2", "liblzf1", "libatomic1"],
    file: "usr/bin/redis-server",
    howToGetIt: HOW_TO_GET_IT,
    // Debian ships server and checker as one file that looks at its own name.
    prepare: (root) => {
      if (!existsSync(join(root, "usr/bin/redis-server"))) {
        symlinkSync("redis-check-rdb", join(root, "usr/bin/redis-server"));
      }
    },
  });
  return { file: unpacked, env: { LD_LIBRARY_PATH: libraryFolders().join(delimiter) } };
}

function libraryFolders(): string[] {
  return ["usr/lib", "lib"]
    .map((folder) => join(CACHE, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((triplet) => join(folder, triplet)));
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
