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
  /**
   * Taken from the first of these suites of Debian with all they depend on, which the others may complete. @default the
   * machine's own, and nothing but what is named
   */
  readonly suites?: readonly string[];
  /** What must be there in the end, below the folder. */
  readonly file: string;
  /** What to tell whoever has no Debian. */
  readonly howToGetIt: string;
  /** Whatever is to be done with the unpacked tree before it is used. */
  readonly prepare?: (root: string) => void;
}

/** The first of these programs in the first folder of PATH that has one. */
export function executableOnPath(names: readonly string[]): string | undefined {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find(isExecutable);
}

/** Where the libraries are in an unpacked tree. */
export function libraryFolders(root: string): string[] {
  return ["usr/lib", "lib"]
    .map((folder) => join(root, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((triplet) => join(folder, triplet)));
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
function unpack(folder: string, { packages, suites = [], file, prepare }: WantedPackages): void {
  const parent = join(folder, "..");
  mkdirSync(parent, { recursive: true });
  const work = mkdtempSync(join(parent, "unpack-"));
  try {
    for (const part of ["lists/partial", "cache/archives/partial", "sources", "root"]) {
      mkdirSync(join(work, part), { recursive: true });
    }
    writeFileSync(join(work, "status"), "");
    const settings = [
      `Dir::State::lists=${work}/lists`,
      `Dir::State::status=${work}/status`,
      `Dir::Cache=${work}/cache`,
      "Debug::NoLocking=1",
      "APT::Sandbox::User=",
    ];
    let fetch = ["download"];
    const [suite] = suites;
    if (suite !== undefined) {
      const from = mirror();
      writeFileSync(join(work, "sources/suites.list"), suites.map((name) => `deb ${from} ${name} main\n`).join(""));
      settings.push("Dir::Etc::sourcelist=/dev/null", `Dir::Etc::sourceparts=${work}/sources`);
      fetch = ["install", "--download-only", "--yes", "--no-install-recommends", "--target-release", suite];
    }
    const downloads = join(work, "cache/archives");
    const options = settings.flatMap((setting) => ["-o", setting]);
    run("apt-get", ["-q", ...options, "update"], work);
    run("apt-get", ["-q", ...options, ...fetch, ...packages], downloads);
    for (const archive of readdirSync(downloads).filter((name) => name.endsWith(".deb"))) {
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

/** Where the machine gets its own Debian from, beside updates. */
function mirror(): string {
  const known = run("apt-get", ["indextargets", "--format", "$(RELEASE) $(REPO_URI)"], "/");
  return /^[a-z]+ (\S+)/m.exec(known)?.[1] ?? "";
}

function run(command: string, args: readonly string[], cwd: string): string {
  const ended = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 120_000 });
  if (ended.status === 0) return ended.stdout;
  throw new Error(`${command}: ${ended.error?.message ?? ended.stderr.trim().split("\n").slice(-2).join(" | ")}`);
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
