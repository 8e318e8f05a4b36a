/**
 * A caller's piece of work as a guard hands it to a strategy, with scripted targets: it really waits, keeps the deadline, the
 * safety and the abort, and refuses with a branded error before it asks anybody.
 */

import { type Clock, delay } from "../../server/ports/clock.js";
import type { RescueOperation } from "../../shared/recovery.js";
import { REJECTION } from "../../shared/rejection.js";

export interface Script {
  readonly clock: Clock;
  /** What each target answers, attempt by attempt; the last answer repeats. An `Error` is thrown. */
  readonly targets: Readonly<Record<string, readonly unknown[]>>;
  readonly fallback?: () => unknown;
  /** @default 20_000 */
  readonly deadlineMs?: number;
  /** @default true */
  readonly idempotent?: boolean;
  readonly openCircuits?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface ScriptedOperation extends RescueOperation {
  /** `service` for each attempt in order, the first one included. */
  readonly asked: readonly string[];
  readonly waits: readonly number[];
}

class Refusal extends Error {
  readonly [REJECTION] = true;
}

/** The operation after its first target's first attempt has failed. */
export function scriptedOperation(script: Script): ScriptedOperation {
  const { clock, idempotent = true, openCircuits = [] } = script;
  const names = Object.keys(script.targets);
  const deadlineAt = clock.monotonic() + (script.deadlineMs ?? 20_000);
  const signal = script.signal ?? new AbortController().signal;
  const asked: string[] = [names[0] ?? ""];
  const waits: number[] = [];
  let at = 0;

  const remainingMs = () => deadlineAt - clock.monotonic();
  const ask = (service: string): unknown => {
    const answers = script.targets[service] ?? [];
    const answer = answers[Math.min(asked.filter((name) => name === service).length, answers.length - 1)];
    asked.push(service);
    if (answer instanceof Error) throw answer;
    return answer;
  };

  return {
    asked,
    waits,
    signal,
    async again({ delayMs = 0 } = {}) {
      if (!idempotent) throw new Refusal("running it again might do it twice");
      if (openCircuits.includes(names[at] ?? "")) throw new Refusal("the circuit is open");
      if (delayMs >= remainingMs()) throw new Refusal("the wait does not fit the deadline");
      await delay(clock, delayMs, signal);
      waits.push(delayMs);
      return ask(names[at] ?? "");
    },
    async next() {
      const next = names.findIndex((name, index) => index > at && !openCircuits.includes(name));
      if (next < 0) throw new Refusal("no target is left");
      at = next;
      return ask(names[at] ?? "");
    },
    async fallback() {
      if (!script.fallback) throw new Refusal("there is no fallback");
      return script.fallback();
    },
    get targetsLeft() {
      return names.slice(at + 1).filter((name) => !openCircuits.includes(name)).length;
    },
    get hasFallback() {
      return script.fallback !== undefined;
    },
    get target() {
      return names[at];
    },
    get attempts() {
      return asked.length;
    },
    remainingMs,
  };
}
