/** Shows how the story goes while it is played: one line that is rewritten on a terminal, else a line for each phase. */
import type { UserCall } from "./user-calls.js";

export interface Progress {
  phase(name: string): void;
  ended(call: Pick<UserCall, "outcome" | "answeredBy">): void;
  /** Leaves the last line as it stands. */
  done(): void;
}

const REWRITE_EVERY_MS = 200;

export function createProgress(title: string, calls: number, out: NodeJS.WriteStream): Progress {
  const began = performance.now();
  const answers = new Map<string, number>();
  let present = "starting";
  let made = 0;
  let failed = 0;

  const line = () => {
    const seconds = ((performance.now() - began) / 1_000).toFixed(1).padStart(6);
    const answered = [...answers].map(([name, count]) => `${name} ${count}`).join(", ");
    return `${title}  ${seconds} s  ${present.padEnd(23)}  ${made}/${calls} calls, ${failed} failed  ${answered}`;
  };
  const rewrite = () => {
    out.cursorTo(0);
    out.write(line().slice(0, (out.columns ?? 100) - 1));
    out.clearLine(1);
  };
  const timer = out.isTTY ? setInterval(rewrite, REWRITE_EVERY_MS) : undefined;

  return Object.freeze({
    phase(name: string) {
      if (!out.isTTY) out.write(`${line()}\n`);
      present = name;
    },
    ended({ outcome, answeredBy }: Pick<UserCall, "outcome" | "answeredBy">) {
      made += 1;
      if (outcome === "failed") failed += 1;
      if (typeof answeredBy === "string") answers.set(answeredBy, (answers.get(answeredBy) ?? 0) + 1);
    },
    done() {
      clearInterval(timer);
      if (out.isTTY) rewrite();
      out.write(out.isTTY ? "\n" : `${line()}\n`);
    },
  });
}
