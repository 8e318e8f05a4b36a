/** Holds a lock on a SQLite file from another process, as a backup or a second instance does. */
import { spawn } from "node:child_process";
import { once } from "node:events";

const LOCKER = `
const Database = require("better-sqlite3");
const db = new Database(process.argv[1]);
db.exec(process.argv[2]);
process.stdout.write("locked");
process.stdin.on("data", () => { db.exec("COMMIT"); db.close(); process.stdout.write("released"); process.exit(0); });
process.stdin.on("end", () => process.exit(0));
`;

export interface DatabaseLock {
  /** Resolves when the lock is gone. */
  release(): Promise<void>;
  /** As `kill -9`. */
  kill(): Promise<void>;
}

/** Resolves when the lock is held. */
export async function lockDatabase(file: string, mode: "EXCLUSIVE" | "IMMEDIATE" = "EXCLUSIVE"): Promise<DatabaseLock> {
  const child = spawn(process.execPath, ["-e", LOCKER, file, `BEGIN ${mode}`], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  await Promise.race([
    once(child.stdout, "data"),
    exited.then(() => Promise.reject(new Error("the locking process ended before it had the lock"))),
  ]);
  return {
    async release() {
      child.stdin.write("release");
      await exited;
    },
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
