/**
 * What guards are for: the same schedule of faults for everybody, who gets an answer, what it costs the providers, what is done
 * twice, and what a call pays while all is well. Each contender is set up as its own documentation shows, with the same times:
 * a second for an attempt, five for a call, three tries half a second apart and doubling, two providers where it can have them,
 * and circuits that judge by ratio, because at a hundred calls a second five failures in a row are chance.
 */
import { performance } from "node:perf_hooks";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, type LanguageModel } from "ai";
import { createRetryableModel, error, timeout } from "ai-retry/language-model";
import {
  circuitBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  SamplingBreaker,
  TimeoutStrategy,
  timeout as timeoutAfter,
  wrap,
} from "cockatiel";
import OpenAI from "openai";
import type { GuardPolicy, Paramedic } from "../../server/index.js";
import { createFixtureProvider, type FixtureProvider } from "../../server/testing.js";
import { fateOf } from "../../test/support/seeded-faults.js";
import { quantile, type Scenario } from "../harness.js";
import { grid } from "../table.js";
import { withParamedic } from "../with-paramedic.js";

const CALLS = 400;
const PER_SECOND = 100;
const SHARE = 0.3;
const ATTEMPT_MS = 1_000;
const DEADLINE_MS = 5_000;
const FIRST_WAIT_MS = 500;
const TRIES = 3;
/** Circuits open when half of at least fifty calls in ten seconds fail. */
const WINDOW_MS = 10_000;
const MINIMUM_CALLS = 50;
const POLICY: GuardPolicy = { window: "time", windowMs: WINDOW_MS, minimumCalls: MINIMUM_CALLS, failureRatio: 0.5 };
/** Calls in turn while all is well. */
const QUIET_CALLS = 300;

/** Providers took such a request and may have acted on it, whatever came back. */
const TAKEN: ReadonlySet<string> = new Set(["answer", "hang", "cut", "reset"]);

interface Contender {
  readonly name: string;
  /** Whose latency, while all is well, is what it adds to. */
  readonly on: string | undefined;
  readonly make: (providers: readonly FixtureProvider[], paramedic: Paramedic) => (call: number) => Promise<unknown>;
}

const promptOf = (call: number) => `call ${call}`;
const openAi = (provider: FixtureProvider | undefined, maxRetries: number) => {
  const client = new OpenAI({ apiKey: "none", baseURL: provider?.baseURL ?? "", timeout: ATTEMPT_MS, maxRetries });
  return (call: number, signal?: AbortSignal) =>
    client.chat.completions.create(
      { model: "m", messages: [{ role: "user", content: promptOf(call) }] },
      signal && { signal },
    );
};
/** The AI SDK bounds a call with all its attempts; what bounds one attempt is the model's `fetch`. */
const attemptFetch: typeof fetch = (input, init) => {
  const signals = [AbortSignal.timeout(ATTEMPT_MS), ...(init?.signal ? [init.signal] : [])];
  return fetch(input, { ...init, signal: AbortSignal.any(signals) });
};
const aiSdkModels = (providers: readonly FixtureProvider[]) =>
  providers.map(({ baseURL }, index) =>
    createOpenAICompatible({ name: `p${index}`, baseURL, apiKey: "none", fetch: attemptFetch }).chatModel("m"),
  );
const generate = (model: LanguageModel, call: number, maxRetries: number) =>
  generateText({ model, prompt: promptOf(call), maxRetries, abortSignal: AbortSignal.timeout(DEADLINE_MS) });
const guardedBy = () =>
  wrap(
    retry(handleAll, { maxAttempts: TRIES - 1, backoff: new ExponentialBackoff({ initialDelay: FIRST_WAIT_MS }) }),
    circuitBreaker(handleAll, {
      halfOpenAfter: 60_000,
      breaker: new SamplingBreaker({
        threshold: 0.5,
        duration: WINDOW_MS,
        minimumRps: MINIMUM_CALLS / (WINDOW_MS / 1_000),
      }),
    }),
    timeoutAfter(ATTEMPT_MS, TimeoutStrategy.Aggressive),
  );

const guardedLlm =
  (policy: GuardPolicy): Contender["make"] =>
  (providers, paramedic) => {
    const llm = paramedic.llm({
      timeoutMs: DEADLINE_MS,
      policy,
      providers: providers.map(({ baseURL }, index) => ({
        name: `p${index}`,
        baseURL,
        apiKey: "none",
        model: "m",
        timeoutMs: ATTEMPT_MS,
      })),
    });
    return (call) => llm.chat({ messages: [{ role: "user", content: promptOf(call) }] });
  };

const COMPLETIONS: readonly Contender[] = [
  { name: "openai SDK alone", on: undefined, make: ([first]) => openAi(first, TRIES - 1) },
  {
    name: "AI SDK alone",
    on: undefined,
    make(providers) {
      const [model] = aiSdkModels(providers);
      return (call) => (model === undefined ? Promise.reject(new Error("no model")) : generate(model, call, TRIES - 1));
    },
  },
  {
    name: "cockatiel around the openai SDK",
    on: "openai SDK alone",
    make(providers) {
      const ways = providers.map((provider) => ({ policy: guardedBy(), ask: openAi(provider, 0) }));
      return async (call) => {
        let last: unknown;
        for (const { policy, ask } of ways) {
          try {
            return await policy.execute(({ signal }) => ask(call, signal));
          } catch (thrown) {
            last = thrown;
          }
        }
        throw last;
      };
    },
  },
  {
    name: "ai-retry around the AI SDK",
    on: "AI SDK alone",
    make(providers) {
      const [model, other] = aiSdkModels(providers);
      if (model === undefined || other === undefined) throw new Error("no models");
      const guarded = createRetryableModel({
        model,
        retries: [
          error.isRetryable(true).retry({ maxAttempts: TRIES, delay: FIRST_WAIT_MS, backoffFactor: 2 }),
          timeout().switch({ model: other }),
          { model: other, maxAttempts: 2 },
        ],
      });
      return (call) => generate(guarded, call, 0);
    },
  },
  { name: "paramedic.llm", on: "openai SDK alone", make: guardedLlm(POLICY) },
  {
    name: "paramedic.llm, retryBudget.ratio 0.5",
    on: "openai SDK alone",
    make: guardedLlm({ ...POLICY, retryBudget: { ratio: 0.5 } }),
  },
];

const order = (provider: FixtureProvider | undefined) => async (call: number, signal: AbortSignal) => {
  const response = await fetch(`${provider?.baseURL}/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ messages: [{ content: promptOf(call) }] }),
    signal,
  });
  if (!response.ok) throw Object.assign(new Error(`answered ${response.status}`), { status: response.status });
  return response.json();
};

/** Work that must not be done twice, and of which nobody has said that it may. */
const ORDERS: readonly Contender[] = [
  {
    name: "fetch alone",
    on: undefined,
    make:
      ([first]) =>
      (call) =>
        order(first)(call, AbortSignal.timeout(ATTEMPT_MS)),
  },
  {
    name: "cockatiel around fetch",
    on: "fetch alone",
    make([first]) {
      const policy = guardedBy();
      return (call) => policy.execute(({ signal }) => order(first)(call, signal));
    },
  },
  {
    name: "paramedic.guard around fetch",
    on: "fetch alone",
    make([first], paramedic) {
      const guard = paramedic.guard("http:orders", { ...POLICY, timeoutMs: ATTEMPT_MS });
      return (call) => guard.execute(({ signal }) => order(first)(call, signal), { timeoutMs: DEADLINE_MS });
    },
  },
];

interface Measured {
  readonly name: string;
  readonly answered: number;
  readonly extra: number;
  /** To the provider that got most of them, above the calls that reached it. */
  readonly extraToOne: number;
  readonly doneTwice: number;
  readonly p50: number;
  readonly p99: number;
  readonly addedMs: number | undefined;
}

export const guardFaults: Scenario = {
  name: "guard-faults",
  async run() {
    return {
      groups: [],
      budgets: [],
      notes: [
        tableOf("completions, which may run twice", await measureAll(COMPLETIONS)),
        tableOf("orders, which must not", await measureAll(ORDERS)),
        `${CALLS} calls, ${PER_SECOND} a second; ${SHARE * 100} % of requests meet the same faults for everybody. Answered is ` +
          `within ${DEADLINE_MS / 1_000} s. To one provider is the largest share of requests ` +
          `that one provider got above the calls that reached it. Done twice counts calls whose work a provider took more than once. Added is the ` +
          `median of ${QUIET_CALLS} calls in turn, without faults, above what it is built on.`,
      ],
    };
  },
};

async function measureAll(contenders: readonly Contender[]): Promise<readonly Measured[]> {
  const all: Measured[] = [];
  const quietMs = new Map<string, number>();
  for (const contender of contenders) {
    await withParamedic(async (paramedic) => {
      const providers = await Promise.all([createFixtureProvider(), createFixtureProvider()]);
      const ask = contender.make(providers, paramedic);
      const { name, on } = contender;
      quietMs.set(name, await quiet(ask));
      const base = on === undefined ? undefined : quietMs.get(on);
      const addedMs = base === undefined ? undefined : (quietMs.get(name) ?? base) - base;
      all.push({ name, addedMs, ...(await underFaults(ask, providers)) });
      await Promise.all(providers.map((provider) => provider.close()));
    });
  }
  return all;
}

async function quiet(ask: (call: number) => Promise<unknown>): Promise<number> {
  const durations: number[] = [];
  for (let call = 0; call < QUIET_CALLS; call += 1) {
    const startedAt = performance.now();
    await ask(call);
    durations.push(performance.now() - startedAt);
  }
  return quantile(durations.slice(QUIET_CALLS / 3), 0.5);
}

async function underFaults(
  ask: (call: number) => Promise<unknown>,
  providers: readonly FixtureProvider[],
): Promise<Omit<Measured, "name" | "addedMs">> {
  const requests = new Map<number, number>();
  const taken = new Map<number, number>();
  const perProvider: Map<number, number>[] = [];
  for (const [index, provider] of providers.entries()) {
    const attempts = new Map<number, number>();
    perProvider.push(attempts);
    provider.decides(({ body }) => {
      const call = Number(/call (\d+)/.exec(JSON.stringify(body))?.[1]);
      const attempt = count(attempts, call);
      const fate = fateOf(index, SHARE, call, attempt);
      count(requests, call);
      if (TAKEN.has(fate.kind)) count(taken, call);
      return fate;
    });
  }
  const durations: number[] = [];
  let answered = 0;
  const one = async (call: number): Promise<void> => {
    const startedAt = performance.now();
    const isAnswered = await ask(call).then(
      () => true,
      () => false,
    );
    const durationMs = performance.now() - startedAt;
    durations.push(durationMs);
    if (isAnswered && durationMs <= DEADLINE_MS) answered += 1;
  };
  const startedAt = performance.now();
  const calls: Promise<void>[] = [];
  while (calls.length < CALLS) {
    const due = Math.min(CALLS, ((performance.now() - startedAt) / 1_000) * PER_SECOND);
    while (calls.length < due) calls.push(one(calls.length));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(calls);
  const extraOf = (made: ReadonlyMap<number, number>) =>
    [...made.values()].reduce((sum, number) => sum + number, 0) - made.size;
  return {
    answered: answered / CALLS,
    extra: extraOf(requests) / CALLS,
    extraToOne: Math.max(...perProvider.map((made) => (made.size === 0 ? 0 : extraOf(made) / made.size))),
    doneTwice: [...taken.values()].filter((times) => times > 1).length,
    p50: quantile(durations, 0.5),
    p99: quantile(durations, 0.99),
  };
}

function count(counts: Map<number, number>, key: number): number {
  const before = counts.get(key) ?? 0;
  counts.set(key, before + 1);
  return before;
}

function tableOf(title: string, measured: readonly Measured[]): string {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  return grid([
    [title, "answered", "extra requests", "to one provider", "done twice", "p50 ms", "p99 ms", "added ms"],
    ...measured.map(({ name, answered, extra, extraToOne, doneTwice, p50, p99, addedMs }) => [
      name,
      percent(answered),
      percent(extra),
      percent(extraToOne),
      String(doneTwice),
      p50.toFixed(1),
      p99.toFixed(0),
      addedMs === undefined ? "" : addedMs.toFixed(2),
    ]),
  ]);
}
