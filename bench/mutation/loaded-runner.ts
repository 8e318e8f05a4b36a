/**
 * Runs Stryker's mutants of circuits in a process that has loaded the tests once. Vitest would start a worker and load them
 * anew for each mutant, which takes ten times longer than the tests.
 */
import { readdir } from "node:fs/promises";
import { register } from "node:module";
import { resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { pathToFileURL } from "node:url";
import { INSTRUMENTER_CONSTANTS, type MutantCoverage } from "@stryker-mutator/api/core";
import { declareClassPlugin, PluginKind } from "@stryker-mutator/api/plugin";
import {
  type DryRunResult,
  DryRunStatus,
  determineHitLimitReached,
  type MutantRunOptions,
  type MutantRunResult,
  type TestResult,
  type TestRunner,
  TestStatus,
  toMutantRunResult,
} from "@stryker-mutator/api/test-runner";
import { type LoadedTest, loadedTests, loadFile } from "./loaded-tests.js";

/** Of one test that may only take what a busy machine makes of it. */
const FIRST_TIMEOUT_MS = 60_000;
/** Of one whose usual time is known: what a mutant keeps waiting fails, before Stryker starts a new process in its place. */
const timeoutMs = (usualMs: number) => 2_000 + 5 * usualMs;

/** Processes, databases and Redis prove a fleet; they tell mutants apart too slowly. */
const LEFT_OUT = ["fleet-processes.test.ts", "store-outage.test.ts"];

/** What the mutated code reads and writes. */
interface MutantSwitch {
  activeMutant: string | undefined;
  currentTestId: string | undefined;
  hitCount: number | undefined;
  hitLimit: number | undefined;
  readonly mutantCoverage?: MutantCoverage;
}

const stryker: MutantSwitch = {
  activeMutant: undefined,
  currentTestId: undefined,
  hitCount: undefined,
  hitLimit: undefined,
};
Reflect.set(globalThis, INSTRUMENTER_CONSTANTS.NAMESPACE, stryker);

class LoadedTestRunner implements TestRunner {
  readonly #took = new Map<string, number>();

  capabilities() {
    return { reloadEnvironment: false };
  }

  async init(): Promise<void> {
    // Short properties, because they run a thousand times.
    process.env.FAST_CHECK_RUNS = "8";
    const url = JSON.stringify(new URL("./loaded-tests.ts", import.meta.url).href);
    const hook = `export const resolve = (specifier, context, next) => next(specifier === "vitest" ? ${url} : specifier, context);`;
    register(`data:text/javascript,${encodeURIComponent(hook)}`);
    const folder = resolve("test/circuit");
    const names = (await readdir(folder)).filter((name) => name.endsWith(".test.ts") && !LEFT_OUT.includes(name));
    await import(pathToFileURL(resolve("test/support/property-runs.setup.ts")).href);
    await import(pathToFileURL(resolve("bench/mutation/same-inputs.setup.ts")).href);
    for (const name of names.sort()) await loadFile(pathToFileURL(resolve(folder, name)).href);
  }

  async dryRun(): Promise<DryRunResult> {
    const tests: TestResult[] = [];
    for (const test of loadedTests) {
      stryker.currentTestId = test.name;
      const result = await resultOf(test, FIRST_TIMEOUT_MS);
      stryker.currentTestId = undefined;
      this.#took.set(test.name, result.timeSpentMs);
      tests.push(result);
    }
    return {
      status: DryRunStatus.Complete,
      tests,
      ...(stryker.mutantCoverage && { mutantCoverage: stryker.mutantCoverage }),
    };
  }

  /** The quickest tests come first, and the first failure ends it. */
  async mutantRun({ activeMutant, testFilter, hitLimit }: MutantRunOptions): Promise<MutantRunResult> {
    const asked = new Set(testFilter);
    const chosen = testFilter === undefined ? loadedTests : loadedTests.filter(({ name }) => asked.has(name));
    const tests: TestResult[] = [];
    stryker.hitCount = hitLimit === undefined ? undefined : 0;
    stryker.hitLimit = hitLimit;
    stryker.activeMutant = activeMutant.id;
    for (const test of chosen.toSorted((a, b) => this.#usual(a) - this.#usual(b))) {
      const result = await resultOf(test, timeoutMs(this.#usual(test)));
      tests.push(result);
      if (result.status === TestStatus.Failed) break;
    }
    stryker.activeMutant = undefined;
    const endless = determineHitLimitReached(stryker.hitCount, hitLimit);
    return toMutantRunResult(endless ?? { status: DryRunStatus.Complete, tests });
  }

  #usual({ name }: LoadedTest): number {
    return this.#took.get(name) ?? 0;
  }
}

async function resultOf({ name, run }: LoadedTest, withinMs: number): Promise<TestResult> {
  const startedAt = performance.now();
  const about = () => ({ id: name, name, timeSpentMs: performance.now() - startedAt });
  try {
    await run(withinMs);
    return { ...about(), status: TestStatus.Success };
  } catch (error) {
    return { ...about(), status: TestStatus.Failed, failureMessage: String(error) };
  }
}

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, "loaded", LoadedTestRunner)];
