/** A real cgroup with a limit of memory, where this machine and this account may make one. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface LimitedCgroup {
  /** The command that runs a command in it, or in a cgroup without a limit of its own below it. */
  run(where: "itself" | "below", command: readonly string[]): string[];
  /** Once nothing runs in it. */
  remove(): void;
}

/** Gives why there is none where it cannot be made: no right, no cgroups, or a container that shows them to read only. */
export function makeLimitedCgroup(bytes: number): LimitedCgroup | { readonly refused: string } {
  const path = /^\d+:(?:memory)?:(.*)$/m.exec(readText("/proc/self/cgroup"))?.[1] ?? "/";
  const refusals = new Set<string>();
  for (const mount of ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"]) {
    for (const above of new Set([join(mount, path), mount])) {
      const folder = join(above, `paramedic-test-${process.pid}`);
      const below = join(folder, "below");
      try {
        mkdirSync(folder);
        const file = ["memory.limit_in_bytes", "memory.max"].find((name) => existsSync(join(folder, name)));
        if (file === undefined) throw new Error(`${above} does not limit memory`);
        writeFileSync(join(folder, file), String(bytes));
        mkdirSync(below);
      } catch (error) {
        refusals.add(error instanceof Error && "code" in error ? String(error.code) : String(error));
        if (existsSync(folder)) rmdirSync(folder);
        continue;
      }
      return {
        run: (where, command) => {
          const processes = join(where === "itself" ? folder : below, "cgroup.procs");
          return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', processes, ...command];
        },
        remove() {
          for (const made of [below, folder]) rmdirSync(made);
        },
      };
    }
  }
  return { refused: [...refusals].join(", ") };
}

function readText(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
