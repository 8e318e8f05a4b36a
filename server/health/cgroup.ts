/** What the cgroups around this process let it use, of either version: the least of its own limit and of those above it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Bytes; undefined without a limit. @param root where `proc` and `sys` are */
export function cgroupMemoryBytes(root = "/"): number | undefined {
  return least(
    foldersOf("memory", root).flatMap((folder) =>
      ["memory.max", "memory.high", "memory.limit_in_bytes"].map((file) => Number(readText(join(folder, file)))),
    ),
  );
}

/** Cores; undefined without a quota. @param root where `proc` and `sys` are */
export function cgroupCores(root = "/"): number | undefined {
  return least(
    foldersOf("cpu", root).flatMap((folder) => [
      quotaOf(readText(join(folder, "cpu.max"))),
      quotaOf(`${readText(join(folder, "cpu.cfs_quota_us"))} ${readText(join(folder, "cpu.cfs_period_us"))}`),
    ]),
  );
}

/**
 * Cores by a cgroup's `<quota> <period>`; undefined without a quota.
 *
 * @example quotaOf("150000 100000") // 1.5
 * @example quotaOf("max 100000") // undefined
 */
export function quotaOf(text: string): number | undefined {
  const [quota = Number.NaN, period = Number.NaN] = text.split(/\s+/).map(Number);
  return quota > 0 && period > 0 ? quota / period : undefined;
}

/**
 * Its own cgroup first, up to the one that this machine or container shows as the uppermost. A path may be the host's, of
 * which a container shows the end alone: what is not there says nothing.
 */
function foldersOf(controller: string, root: string): readonly string[] {
  const groups = [...readText(join(root, "proc/self/cgroup")).matchAll(/^\d+:([^:]*):(.*)$/gm)].map(
    ([, controllers = "", path = ""]) => ({ controllers: controllers.split(","), path }),
  );
  const old = groups.find(({ controllers }) => controllers.includes(controller));
  const own = old ?? groups.find(({ controllers }) => controllers.includes(""));
  if (own === undefined) return [];
  const mount = join(root, "sys/fs/cgroup", old === undefined ? "" : controller);
  const names = own.path.split("/").filter((name) => name !== "");
  return [...names, ""].map((_, above) => join(mount, ...names.slice(0, names.length - above)));
}

function least(limits: readonly (number | undefined)[]): number | undefined {
  const found = limits.filter((limit): limit is number => limit !== undefined && limit > 0);
  return found.length === 0 ? undefined : Math.min(...found);
}

/** Empty where there is no such file. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}
