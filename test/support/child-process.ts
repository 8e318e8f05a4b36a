/** Starts a script as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface Child {
  readonly process: ChildProcess;
  /** The next line it prints; rejects when it ends before. */
  nextLine(): Promise<string>;
  /** Its exit code, once it has ended. */
  readonly ended: Promise<number | null>;
  kill(): Promise<void>;
}

/**
 * @param script TypeScript is compiled while it starts
 * @param nodeOptions for the process, such as `["--expose-gc"]`
 */
export function startChild(script: URL, task: string, database: string, nodeOptions: readonly string[] = []): Child {
  const file = fileURLToPath(script);
  const compiler = file.endsWith(".ts") ? ["--import", "tsx"] : [];
  const child = spawn(process.execPath, [...nodeOptions, ...compiler, file, task, database], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, "exit").then(([code]): number | null => code);
  return {
    process: child,
    async nextLine() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the child that was to ${task} ended without a word`);
      return value;
    },
    ended,
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
