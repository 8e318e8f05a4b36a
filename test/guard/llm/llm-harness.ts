/** LLM guards with the built-in rescues in front of fixture providers, whose journal, metrics and circuits a test can read. */
import { CircuitBreakerRegistry } from "../../../server/circuit/circuit-breaker-registry.js";
import type { GuardPolicy } from "../../../server/guard/guard-policy.js";
import { createGuards, GUARD_FLAGS_ON, type Guards } from "../../../server/guard/guards.js";
import { createLlm, type LlmDeps, type LlmOptions } from "../../../server/guard/llm/llm.js";
import type { LlmProvider } from "../../../server/guard/llm/provider.js";
import { type CallContext, noCallContext } from "../../../server/ports/call-context.js";
import { type Clock, systemClock } from "../../../server/ports/clock.js";
import type { JournalEntry } from "../../../server/ports/journal.js";
import { createBuiltInStrategies } from "../../../server/recovery/built-in-strategies.js";
import type { FixtureProvider, StreamEnd } from "../../../server/testing.js";
import { classify } from "../../../shared/classify.js";
import type { Failure } from "../../../shared/failure.js";
import type { SeriesDescriptor } from "../../../shared/series.js";

export const KEY = "sk-verysecretkey123456";
export const PROMPT = "what is my diagnosis, says Jane Roe";

export const request = { messages: [{ role: "user" as const, content: PROMPT }] };

export function providerOf(
  name: string,
  { baseURL }: Pick<FixtureProvider, "baseURL">,
  more: Partial<LlmProvider> = {},
): LlmProvider {
  return { name, baseURL, apiKey: KEY, model: `${name}-model`, ...more };
}

export interface Measured {
  readonly descriptor: SeriesDescriptor;
  readonly value: number;
}

/** @default everything is switched on, by the machine's clock */
export type PolicyUnderTest = GuardPolicy & {
  readonly rescues?: boolean;
  readonly enabled?: boolean;
  readonly clock?: Clock;
};

export interface Patience {
  readonly timeoutMs: number;
  readonly stallTimeoutMs: number;
}

/** Nobody waits for these where nothing is silent, however busy the machine is. */
export const PATIENT: Patience = { timeoutMs: 10_000, stallTimeoutMs: 10_000 };
/** Where silence is to be noticed. */
export const HURRIED: Patience = { timeoutMs: 1_500, stallTimeoutMs: 300 };
export const isSilent = (end: StreamEnd): boolean => end === "stalled" || end === "keep_alive";
export const patienceFor = (end: StreamEnd): Patience => (isSilent(end) ? HURRIED : PATIENT);

export function createGuardsUnderTest(
  { rescues = true, enabled = true, clock = systemClock, ...policy }: PolicyUnderTest = {},
  callContext: CallContext = noCallContext,
) {
  const journal: JournalEntry[] = [];
  const measured: Measured[] = [];
  const logged: unknown[] = [];
  const sink: LlmDeps["sink"] = {
    record() {},
    series: (descriptor) => ({ record: (value) => void measured.push({ descriptor, value }) }),
  };
  const registry = new CircuitBreakerRegistry({ clock, random: () => 0 });
  let id = 0;
  const log = (...said: unknown[]) => void logged.push(said);
  const guards: Guards = createGuards(
    {
      clock,
      random: () => 0,
      ids: () => `id-${++id}`,
      registry,
      journal: { append: (entry) => void journal.push(entry) },
      callContext,
      settings: { mode: () => "full", stopped: () => false },
      sink,
      strategies: () => createBuiltInStrategies({ clock, random: () => 0 }, { baseDelayMs: 1, maxDelayMs: 5 }),
      classify: (error, service) => classify(error, service, clock.now()),
      flags: { ...GUARD_FLAGS_ON, enabled, autoRecovery: rescues },
      logger: { debug: log, info: log, warn: log, error: log },
      onFault: (error) => {
        throw error;
      },
    },
    policy,
  );
  return {
    guards,
    clock,
    sink,
    registry,
    journal,
    measured,
    logged,
    /** State of a circuit; those of parts by the beginning of their names. */
    state: (name: string) =>
      registry
        .getAll()
        .find((circuit) => circuit.name.startsWith(name))
        ?.snapshot().state,
    failures: (): Failure[] => journal.flatMap((entry) => (entry.type === "failure.observed" ? [entry.failure] : [])),
    genAi: () => measured.filter(({ descriptor }) => /^(gen_ai|paramedic\.llm)\./.test(descriptor.metricName)),
  };
}

export function createLlmUnderTest(options: LlmOptions, deps: Partial<LlmDeps> = {}, policy: PolicyUnderTest = {}) {
  const made = createGuardsUnderTest(policy);
  const { guards, clock, sink } = made;
  return { ...made, llm: createLlm({ guards, clock, sink, ...deps }, options) };
}

/** What a stream gave, and what it ended with. */
export async function read<T>(stream: AsyncIterable<T>): Promise<{ items: T[]; error: unknown }> {
  const items: T[] = [];
  try {
    for await (const item of stream) items.push(item);
    return { items, error: undefined };
  } catch (error) {
    return { items, error };
  }
}
