/** A Redis and its replica behind proxies, and everything that can be done to them. What is destroyed on the way is written down. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { type RedisServer, startRedis } from "../services/redis-server.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { pause } from "./fleet.js";

export interface RedisPair {
  /** Where producers and aggregators connect: always the present master, through the proxy. */
  readonly url: string;
  readonly network: TcpProxy;
  /** Markers of entries that were taken out of the stream, read or not. */
  readonly destroyed: ReadonlySet<string>;
  kill(awayMs: number): Promise<void>;
  pause(forMs: number): Promise<void>;
  /** The replica falls behind, the master dies, the replica takes over, and the master comes back as its replica. */
  failOver(behindMs: number): Promise<void>;
  /** Trims whatever its readers have, to a few entries. */
  trim(keep: number): Promise<void>;
  /** Appends entries that are there once more. */
  duplicate(howMany: number): Promise<void>;
  append(fields: Readonly<Record<string, string>>): Promise<void>;
  /** Makes the master refuse writes for a while. */
  refuseWrites(how: keyof typeof REFUSALS, forMs: number): Promise<void>;
  /** Whether nothing waits and nothing is pending. */
  isEmpty(): Promise<boolean>;
  dispose(): Promise<void>;
}

const KEPT = ["--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"];

type Work = (admin: Redis) => Promise<unknown>;

const REFUSALS = {
  readonly: {
    begin: (admin) => admin.call("REPLICAOF", "127.0.0.1", "1"),
    end: (admin) => admin.call("REPLICAOF", "NO", "ONE"),
  },
  out_of_memory: {
    begin: (admin) => admin.config("SET", "maxmemory", "1"),
    end: (admin) => admin.config("SET", "maxmemory", "0"),
  },
  no_replicas: {
    begin: (admin) => admin.config("SET", "min-replicas-to-write", "5"),
    end: (admin) => admin.config("SET", "min-replicas-to-write", "0"),
  },
  /** A folder stands where the file is to be, and a snapshot that failed forbids writes. */
  cannot_save: {
    begin: async (admin) => {
      const snapshot = join(await folderOf(admin), "dump.rdb");
      // What a replica was sent lies there; it begins from its append-only file.
      rmSync(snapshot, { recursive: true, force: true });
      mkdirSync(join(snapshot, "in-the-way"), { recursive: true });
      await admin.config("SET", "save", "3600 1");
      for (let attempt = 0; attempt < 100; attempt += 1) {
        // Refused while a replica is being sent everything.
        await admin.bgsave().catch(() => undefined);
        if ((await admin.info("persistence")).includes("rdb_last_bgsave_status:err")) return;
        await pause(20);
      }
    },
    end: async (admin) => {
      await admin.config("SET", "save", "");
      rmSync(join(await folderOf(admin), "dump.rdb"), { recursive: true, force: true });
    },
  },
} as const satisfies Record<string, { readonly begin: Work; readonly end: Work }>;

async function folderOf(admin: Redis): Promise<string> {
  const [, folder = ""] = (await admin.config("GET", "dir")) as string[];
  return folder;
}

/** @param markerOf names an entry's content, so that copies of it have one name */
export async function startRedisPair(
  streamKey: string,
  markerOf: (fields: Readonly<Record<string, string>>) => string,
): Promise<RedisPair> {
  const servers = await Promise.all([startRedis({ args: KEPT }), startRedis({ args: KEPT })]);
  let [master, replica]: readonly RedisServer[] = servers;
  if (!master || !replica) throw new Error("two servers were started");
  const network = await startTcpProxy({ port: master.port });
  const replication = await startTcpProxy({ port: master.port });
  const destroyed = new Set<string>();

  const follow = (follower: RedisServer) =>
    onServer(follower, (admin) => admin.call("REPLICAOF", "127.0.0.1", replication.port));
  await follow(replica);

  const entriesOf = async (admin: Redis) => {
    const entries = await admin.xrange(streamKey, "-", "+");
    return entries.map(([, flat]) => fieldsOf(flat));
  };

  return {
    url: `redis://127.0.0.1:${network.port}`,
    network,
    destroyed,
    async kill(awayMs) {
      if (!master) return;
      await master.kill();
      await pause(awayMs);
      await master.restart();
    },
    async pause(forMs) {
      if (!master) return;
      const { pid } = master;
      process.kill(pid, "SIGSTOP");
      await pause(forMs);
      process.kill(pid, "SIGCONT");
    },
    async failOver(behindMs) {
      if (!master || !replica) return;
      await untilInSync(replica);
      replication.blackhole("to_client");
      await pause(behindMs);
      const had = await onServer(master, async (admin) => {
        await admin.call("CLIENT", "PAUSE", 60_000, "WRITE");
        return entriesOf(admin);
      });
      await master.kill();
      const kept = await onServer(replica, async (admin) => {
        await admin.call("REPLICAOF", "NO", "ONE");
        return entriesOf(admin);
      });
      const left = new Set(kept.map(markerOf));
      for (const marker of had.map(markerOf)) if (!left.has(marker)) destroyed.add(marker);
      [master, replica] = [replica, master];
      replication.redirect(master.port);
      replication.resume();
      replication.cut();
      network.redirect(master.port);
      network.cut();
      await replica.restart();
      await follow(replica);
    },
    async trim(keep) {
      if (!master) return;
      await onServer(master, async (admin) => {
        const results = await admin
          .multi()
          .xrange(streamKey, "-", "+")
          .xtrim(streamKey, "MAXLEN", keep)
          .xrange(streamKey, "-", "+")
          .exec();
        const [before = [], , after = []] = (results ?? []).map(([, reply]) => reply as [string, string[]][]);
        const left = new Set(after.map(([, flat]) => markerOf(fieldsOf(flat))));
        for (const [, flat] of before) {
          const marker = markerOf(fieldsOf(flat));
          if (!left.has(marker)) destroyed.add(marker);
        }
      });
    },
    async duplicate(howMany) {
      if (!master) return;
      await onServer(master, async (admin) => {
        for (const [, flat] of await admin.xrevrange(streamKey, "+", "-", "COUNT", howMany)) {
          await admin.xadd(streamKey, "*", ...flat);
        }
      });
    },
    async append(fields) {
      if (master) await onServer(master, (admin) => admin.xadd(streamKey, "*", ...Object.entries(fields).flat()));
    },
    async refuseWrites(how, forMs) {
      if (!master) return;
      await onServer(master, REFUSALS[how].begin);
      await pause(forMs);
      await onServer(master, REFUSALS[how].end);
    },
    async isEmpty() {
      if (!master) return false;
      return onServer(master, async (admin) => {
        const pending = await admin.xpending(streamKey, "paramedic", "-", "+", 1);
        const unread = await admin.xinfo("GROUPS", streamKey);
        const [group = []] = unread as unknown[][];
        const last = String(group[group.indexOf("last-delivered-id") + 1]);
        return pending.length === 0 && (await admin.xrange(streamKey, `(${last}`, "+", "COUNT", 1)).length === 0;
      });
    },
    async dispose() {
      await Promise.all([network.close(), replication.close(), ...servers.map((server) => server.stop())]);
    },
  };
}

async function onServer<T>({ url }: RedisServer, work: (admin: Redis) => Promise<T>): Promise<T> {
  const admin = new Redis(url, { protocol: 2, lazyConnect: true });
  admin.on("error", () => undefined);
  try {
    await admin.connect();
    return await work(admin);
  } finally {
    admin.disconnect();
  }
}

/** So that a failover destroys what came since, and not everything. */
async function untilInSync(replica: RedisServer): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const state = await onServer(replica, (admin) => admin.info("replication"));
    if (state.includes("master_link_status:up")) return;
    await pause(25);
  }
}

function fieldsOf(flat: readonly string[]): Readonly<Record<string, string>> {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) pairs.push([flat[at] ?? "", flat[at + 1] ?? ""]);
  return Object.fromEntries(pairs);
}
