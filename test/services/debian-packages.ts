/** Programs that tests need and that are not installed: unpacked from Debian's packages into a cache folder, without root. */
import { spawnSync } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";

export interface WantedPackages {
  readonly packages: readonly string[];
  /** What must be there in the end, below the folder. */
  readonly file: string;
  /** What to tell whoever has no Debian. */
  readonly howToGetIt: string;
  /** Whatever is to be done with the unpacked tree before it is used. */
  readonly prepare?: (root: string) => void;
}

/** The first of these programs that PATH knows. */
export function executableOnPath(names: readonly string[]): string | undefined {
  return names
    .flatMap((name) => (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, name)))
    .find(isExecutable);
}

/** Does nothing where the folder has the file already. @throws Error that says how to get the program otherwise */
export function unpackDebianPackages(folder: string, wanted: WantedPackages): void {
  if (existsSync(join(folder, wanted.file))) return;
  if (process.platform !== "linux" || !runs("apt-get") || !runs("dpkg-deb")) throw new Error(wanted.howToGetIt);
  try {
    unpack(folder, wanted);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${wanted.howToGetIt} (unpacking Debian's package failed: ${why})`, { cause });
  }
}

/** Package lists, status and cache are private folders. Losing a race means using the winner's. */
function unpack(folder: string, { packages, file, prepare }: WantedPackages): void {
  const parent = join(folder, "..");
  mkdirSync(parent, { recursive: true });
  const work = mkdtempSync(join(parent, "unpack-"));
  try {
    for (const part of ["lists/partial", "cache/archives/partial", "packages", "root"]) {
      mkdirSync(join(work, part), { recursive: true });
    }
    writeFileSync(join(work, "status"), "");
    const settings = [
      `Dir::State::lists=${work}/lists`,
      `Dir::State::status=${work}/status`,
      `Dir::Cache=${work}/cache`,
      "Debug::NoLocking=1",
      "APT::Sandbox::User=",
    ].flatMap((setting) => ["-o", setting]);
    const downloads = join(work, "packages");
    run("apt-get", ["-q", ...settings, "update"], work);
    run("apt-get", ["-q", ...settings, "download", ...packages], downloads);
    for (const archive of readdirSync(downloads)) {
      run("dpkg-deb", ["-x", join(downloads, archive), join(work, "root")], work);
    }
    prepare?.(join(work, "root"));
    try {
      renameSync(join(work, "root"), folder);
    } catch (error) {
      if (!existsSync(join(folder, file))) throw error;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function run(command: string, args: readonly string[], cwd: string): void {
  const { status, error, stderr } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 120_000 });
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr.trim().split("\n").slice(-2).join(" | ")}`);
}

function runs(command: string): boolean {
  return spawnSync(command, ["--version"]).status === 0;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
