/** Plays a scenario on a library, word by word. */
import type { Scenario } from "./scenarios.js";
import { type Asked, type Library, RESULTS, type Result, type Setting, type Subject, Unsupported } from "./subject.js";

export type Verdict =
  | { readonly is: "passed" }
  /** Where, and what was there instead. */
  | { readonly is: "failed"; readonly why: string }
  /** The library has no such setting or act. */
  | { readonly is: "unsupported"; readonly why: string };

export async function play(library: Library, { setting, scripts }: Scenario): Promise<Verdict> {
  try {
    for (const script of scripts) {
      const why = await playScript(library, setting, script);
      if (why !== undefined) return { is: "failed", why };
    }
    return { is: "passed" };
  } catch (error) {
    if (error instanceof Unsupported) return { is: "unsupported", why: error.message };
    throw error;
  }
}

async function playScript(library: Library, setting: Setting, script: string): Promise<string | undefined> {
  const subject = library.create(setting);
  const calls = new Map<string, Asked>();
  const words = script.trim().split(/\s+/);
  try {
    for (const [at, word] of words.entries()) {
      const wrong = await say(word, subject, calls);
      if (wrong !== undefined) return `after "${words.slice(Math.max(0, at - 6), at + 1).join(" ")}": ${wrong}`;
    }
    return undefined;
  } finally {
    subject.dispose();
  }
}

/** Says what is wrong, if anything. */
async function say(word: string, subject: Subject, calls: Map<string, Asked>): Promise<string | undefined> {
  if (isResult(word)) return callAtOnce(word, subject);
  const [, name, sign, result, openForMs] = /^([a-z])([-+=])(\w?)(?:@(\d+))?$/.exec(word) ?? [];
  if (name !== undefined) {
    if (sign === "=") return endCall(calls.get(name), result ?? "", openForMs);
    const asked = await subject.ask();
    calls.set(name, asked);
    const expected = sign === "+" ? "running" : "refused";
    return asked.is === expected ? undefined : `a call is ${asked.is} that should be ${expected}`;
  }
  const [, kind, value = ""] = /^(T|W|opens:|warns:|ratio:)(.*)$/.exec(word) ?? [];
  switch (kind) {
    case "T":
      return void (await subject.pass(Number(value)));
    case "W":
      return void subject.stepWall(Number(value));
    case "opens:":
      return same("openings", subject.openings(), Number(value));
    case "warns:":
      return same("warnings", subject.warnings(), Number(value));
    case "ratio:": {
      const ratio = subject.failureRatio();
      return ratio === "untold"
        ? undefined
        : same("failure ratio", ratio, value === "none" ? undefined : Number(value));
    }
  }
  switch (word) {
    case "closed":
    case "open":
    case "half_open":
      return same("state", subject.state(), word);
    case "hold":
      return void subject.hold("forced_open");
    case "disable":
      return void subject.hold("disabled");
    case "measure":
      return void subject.hold("metrics_only");
    case "release":
      return void subject.release();
    case "half-open-it":
      return void subject.halfOpen();
    case "restart":
      return void subject.restart();
  }
  throw new Error(`no such word in a scenario: ${word}`);
}

async function callAtOnce(result: Result, subject: Subject): Promise<string | undefined> {
  const asked = await subject.ask();
  if (asked.is !== "running") return `a call is ${asked.is} that should run`;
  await asked.end(result);
  return undefined;
}

async function endCall(
  asked: Asked | undefined,
  result: string,
  openForMs: string | undefined,
): Promise<string | undefined> {
  if (asked?.is !== "running" || !isResult(result))
    throw new Error("a scenario ends what does not run, or in no known way");
  await asked.end(result, openForMs === undefined ? undefined : Number(openForMs));
  return undefined;
}

function same(what: string, found: unknown, expected: unknown): string | undefined {
  return Object.is(found, expected) ? undefined : `${what} is ${String(found)}, expected ${String(expected)}`;
}

function isResult(word: string): word is Result {
  return RESULTS.some((result) => result === word);
}
