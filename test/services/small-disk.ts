/** A command that finds its folder on a disk of its own, small enough to be filled: in a name space, so that it needs no root. */
import { spawnSync } from "node:child_process";

export interface SmallDisk {
  /** The folder that is to be a disk; it exists and is empty. */
  readonly folder: string;
  /** What the disk holds at first. */
  readonly seed: string;
  readonly megabytes: number;
  readonly account: { readonly uid: number; readonly gid: number } | undefined;
}

const HOW_TO_GET_IT =
  "tests that fill a disk need unshare of util-linux 2.38 or newer, and a kernel that lets it make user and mount name spaces";

/** Mounts where nobody else sees it, then becomes the command. */
const ON_A_DISK = 'mount -t tmpfs -o "size=$1m" tmpfs "$2" && cp -a "$3/." "$2" && shift 3 && exec "$@"';

/** The disk is gone with the last process that it was made for. @throws Error that says what is missing */
export function onSmallDisk({ folder, seed, megabytes, account }: SmallDisk, command: readonly string[]): string[] {
  const uid = account?.uid ?? process.getuid?.() ?? 0;
  const gid = account?.gid ?? process.getgid?.() ?? 0;
  const unshare = ["--user", "--mount", `--map-user=${uid}`, `--map-group=${gid}`, "--keep-caps", "/bin/sh", "-c"];
  const tried = spawnSync("unshare", [...unshare, `mount -t tmpfs tmpfs "${folder}"`], {
    ...account,
    encoding: "utf8",
  });
  if (tried.status !== 0) throw new Error(`${HOW_TO_GET_IT} (${tried.error?.message ?? tried.stderr.trim()})`);
  return ["unshare", ...unshare, ON_A_DISK, "sh", String(megabytes), folder, seed, ...command];
}
