/** Paramedic's circuit breaker in scenarios. */
import { CircuitBreaker } from "../../../server/circuit/circuit-breaker.js";
import { CircuitBreakerError } from "../../../server/circuit/circuit-breaker-error.js";
import type { CircuitBreakerOptions } from "../../../server/circuit/circuit-config.js";
import { verdictOfError } from "../../../server/circuit/verdict.js";
import type { HeldState } from "../../../shared/circuit.js";
import { createFakeClock, settle } from "../../support/fake-clock.js";
import { askOf, type Library, NotFound, ServiceDown, type Setting, type Subject } from "./subject.js";

export const paramedic: Library = {
  name: "paramedic",
  create(setting): Subject {
    const clock = createFakeClock();
    let [openings, warnings] = [0, 0];
    const make = () =>
      new CircuitBreaker("scenario", optionsOf(setting), {
        clock,
        classify: (error) => {
          if (error instanceof NotFound) return "ignored";
          const openForMs = error instanceof ServiceDown && "openForMs" in error ? Number(error.openForMs) : undefined;
          return { verdict: verdictOfError(error), openForMs };
        },
        onTransition: ({ to }) => {
          if (to === "open") openings += 1;
        },
        onNotice: () => {
          warnings += 1;
        },
      });
    let breaker = make();
    return {
      ask: () =>
        askOf(
          (work) => breaker.execute(() => work.run()),
          () => new CircuitBreakerError({ circuitName: "within", retryAfterMs: 1 }),
          settle,
        ),
      state: () => breaker.getState().state,
      openings: () => openings,
      failureRatio: () => breaker.counts().failureRatio,
      warnings: () => warnings,
      pass: (ms) => clock.advance(ms),
      stepWall: (ms) => clock.stepWall(ms),
      hold: (state: HeldState) => breaker.hold({ state, by: "ada", reason: "scenario", until: undefined }),
      release: () => breaker.release(),
      halfOpen: () => void breaker.grantProbes({ permits: 1, leaseMs: 1_000 }),
      restart() {
        const stored = { ...breaker.snapshot(), updatedAt: clock.now() };
        breaker = make();
        breaker.restore(stored);
      },
      dispose() {},
    };
  },
};

function optionsOf({ window, slow, openMs = 60_000, openFactor = 1, probes = {} }: Setting): CircuitBreakerOptions {
  const successThreshold = probes.successes ?? 1;
  const halfOpenCalls = probes.of ?? successThreshold;
  return {
    ...windowOf(window),
    ...(slow && { slowCallMs: slow.ms, slowCallRatio: slow.ratio }),
    timeoutMs: 2 ** 30,
    resetTimeoutMs: openMs,
    resetTimeoutFactor: openFactor,
    successThreshold,
    halfOpenCalls,
    successRatio: probes.ratio,
    halfOpenPermits: probes.permits ?? halfOpenCalls,
    halfOpenMaxMs: probes.maxMs,
  };
}

function windowOf(window: Setting["window"]): CircuitBreakerOptions {
  switch (window.kind) {
    case "consecutive":
      return { window: "consecutive", failureThreshold: window.failures };
    case "count":
      return { window: "count", windowCalls: window.calls, ...rulesOf(window) };
    case "time":
      return { window: "time", windowMs: window.ms, ...rulesOf(window) };
  }
}

function rulesOf(
  rule: { readonly failures: number } | { readonly ratio: number; readonly minimum: number },
): CircuitBreakerOptions {
  return "failures" in rule
    ? { windowFailures: rule.failures }
    : { failureRatio: rule.ratio, minimumCalls: rule.minimum };
}
