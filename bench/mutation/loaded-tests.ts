/**
 * Stands in for Vitest where the same tests run a thousand times: a test file that imports `vitest` gets these functions, its
 * tests are loaded once, and each can be run again and again. As much of Vitest as the tests of circuits use.
 */
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { format } from "node:util";
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  GLOBAL_EXPECT,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from "@vitest/expect";

type Run = (...args: unknown[]) => unknown;

export interface LoadedTest {
  readonly name: string;
  /** Settles when the test has passed; rejects when it has failed, or waits after `timeoutMs` for what does not come. */
  readonly run: (timeoutMs: number) => Promise<void>;
}

interface Suite {
  readonly names: readonly string[];
  readonly after: (() => unknown)[];
}

export const loadedTests: LoadedTest[] = [];

let suite: Suite = { names: [], after: [] };
/** Errors that reached nobody since the test began. */
const unhandled: unknown[] = [];

for (const event of ["unhandledRejection", "uncaughtException"]) {
  process.on(event, (error: unknown) => unhandled.push(error));
}

/** Tests of one file: its hooks are its own. */
export async function loadFile(url: string): Promise<void> {
  suite = { names: [url.slice(url.lastIndexOf("/") + 1)], after: [] };
  await import(url);
}

/** Adds `each`. Options of a test, such as its timeout, are not heeded. */
function withEach(define: (name: string, body: Run) => void) {
  const defineOne = (name: string, ...rest: readonly (Run | object)[]): void => define(name, bodyOf(rest));
  const each =
    (table: readonly unknown[]) =>
    (name: string, ...rest: readonly (Run | object)[]): void => {
      for (const [at, row] of table.entries()) {
        const values = Array.isArray(row) ? row : [row];
        const named = name.replace(/\$(\w+)/g, (_, key) => String(Reflect.get(Object(row), key)));
        define(`${named === name ? format(name, ...values) : named} #${at}`, () => bodyOf(rest)(...values));
      }
    };
  return Object.assign(defineOne, { each });
}

function bodyOf(rest: readonly (Run | object)[]): Run {
  for (const part of rest) if (typeof part === "function") return part as Run;
  throw new Error("a test without a function");
}

export const describe = withEach((name, define) => {
  const outer = suite;
  suite = { names: [...outer.names, name], after: [...outer.after] };
  define();
  suite = outer;
});

export const it = withEach((name, body) => {
  const { names, after } = suite;
  loadedTests.push({ name: [...names, name].join(" > "), run: (timeoutMs) => runOne(body, after, timeoutMs) });
});

export function afterEach(hook: () => unknown): void {
  suite.after.push(hook);
}

async function runOne(body: Run, after: readonly (() => unknown)[], timeoutMs: number): Promise<void> {
  unhandled.length = 0;
  const failures: unknown[] = [];
  for (const part of [body, ...after]) {
    try {
      await within(timeoutMs, part);
    } catch (error) {
      failures.push(error);
    }
  }
  // A rejection that nobody handles is told after the turn in which it came.
  await new Promise(setImmediate);
  failures.push(...unhandled);
  if (failures.length > 0) throw failures[0];
}

async function within(timeoutMs: number, part: Run): Promise<void> {
  const enough = new AbortController();
  try {
    const result = part();
    if (result instanceof Promise) await Promise.race([result, hung(timeoutMs, enough.signal)]);
  } finally {
    enough.abort();
  }
}

/** How often a test that still works may need its time again. */
const MOST_TIMES = 10;

/** Rejects when a test only waits: one that is late because others use the machine too has a busy event loop. */
async function hung(timeoutMs: number, signal: AbortSignal): Promise<void> {
  for (let times = 1; times <= MOST_TIMES && !signal.aborted; times += 1) {
    const before = performance.eventLoopUtilization();
    await sleep(timeoutMs, undefined, { signal }).catch(() => undefined);
    if (!signal.aborted && performance.eventLoopUtilization(before).utilization < 0.5) break;
  }
  if (!signal.aborted) throw new Error(`did not end in ${timeoutMs} ms`);
}

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

const assertions = (value: unknown, message?: string) => chai.expect(value, message);
export const expect = Object.assign(
  assertions,
  chai.expect,
  Reflect.get(globalThis, ASYMMETRIC_MATCHERS_OBJECT) as object,
  {
    unreachable(message = "nobody comes here"): never {
      throw new Error(message);
    },
  },
);
Reflect.set(globalThis, GLOBAL_EXPECT, expect);
setState({ assertionCalls: 0 }, expect as never);
