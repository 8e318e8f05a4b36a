/** What a caller of `execute` gets, and what the circuit makes of it. */
import { getEventListeners } from "node:events";
import { TRPCError } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { CircuitBreaker, type CircuitBreakerDeps } from "../../server/circuit/circuit-breaker.js";
import { CircuitBreakerError, CircuitTimeoutError } from "../../server/circuit/circuit-breaker-error.js";
import type { CircuitBreakerOptions } from "../../server/circuit/circuit-config.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { isRejection } from "../../shared/rejection.js";
import { createFakeClock, settle } from "../support/fake-clock.js";
import { createStarvedClock } from "../support/starved-clock.js";
import { createStillClock } from "./still-clock.js";

function circuit(options: CircuitBreakerOptions = {}, deps: CircuitBreakerDeps = {}) {
  const clock = createFakeClock();
  const transitions: CircuitTransition[] = [];
  const breaker = new CircuitBreaker("svc", options, {
    clock,
    instance: "a",
    onTransition: (transition) => transitions.push(transition),
    ...deps,
  });
  return { clock, breaker, transitions };
}

const boom = new Error("boom");
const fail = () => Promise.reject(boom);

describe("a circuit by itself", () => {
  it("has nothing above it, and is of the instance `local`", () => {
    const moves: CircuitTransition[] = [];
    const breaker = new CircuitBreaker("svc", {}, { onTransition: (transition) => moves.push(transition) });
    expect(breaker.admitsAll).toBe(true);
    expect(breaker.admitBelow(undefined)).toEqual([]);
    breaker.forceOpen("operator");
    expect(breaker.admitsAll).toBe(false);
    expect(moves).toMatchObject([{ instance: "local" }]);
  });
});

describe("when a call ended, and how long it took", () => {
  it("is known exactly where calls are measured, also while a deadline is armed", async () => {
    const clock = createStillClock();
    const { breaker } = circuit({ window: "time", windowMs: 1_000, timeoutMs: 30_000, slowCallMs: 10 }, { clock });
    for (const tookMs of [15, 5]) {
      let answer: () => void = () => {};
      const call = breaker.execute(() => new Promise<void>((resolve) => (answer = resolve)));
      clock.leap(tookMs);
      answer();
      await call;
      expect(breaker.snapshot().lastSuccessAt).toBe(clock.now());
    }
    expect(breaker.counts()).toMatchObject({ calls: 2, slow: 1 });
  });
});

describe("options", () => {
  it("are completed with defaults, of which some follow from others", () => {
    expect(new CircuitBreaker("svc").config).toMatchObject({
      failureThreshold: 5,
      successThreshold: 2,
      timeoutMs: 30_000,
      resetTimeoutMs: 60_000,
      halfOpenPermits: 2,
      probeLeaseMs: 60_000,
    });
    expect(new CircuitBreaker("svc", { timeout: 7, resetTimeout: 8, successThreshold: 3 }).config).toMatchObject({
      timeoutMs: 7,
      resetTimeoutMs: 8,
      halfOpenPermits: 3,
      probeLeaseMs: 14,
    });
    expect(new CircuitBreaker("svc", { timeout: 7, timeoutMs: 9 }).config.timeoutMs).toBe(9);
  });

  it("out of range are refused, all at once, with what is legal", () => {
    const make = () =>
      new CircuitBreaker("svc", { failureThreshold: 0, timeoutMs: Number.NaN, resetTimeoutMs: 2 ** 31 });
    expect(make).toThrow(
      /"svc".*failureThreshold.*\[1, 10000\], got 0.*timeoutMs.*got NaN.*resetTimeoutMs.*2147483647\]/,
    );
    expect(make).toThrow(expect.objectContaining({ code: "CONFIGURATION_INVALID" }));
    expect(() => new CircuitBreaker("svc", { successThreshold: 1.5 })).toThrow(/successThreshold/);
  });

  it("do not make up for a missing name, under which nothing could be stored", () => {
    for (const name of ["", undefined]) {
      const make = () => new CircuitBreaker(name as string);
      expect(make).toThrow(expect.objectContaining({ code: "CONFIGURATION_INVALID" }));
    }
  });
});

describe("a call that succeeds", () => {
  it.each([
    ["a promise", () => Promise.resolve(7), 7],
    ["a plain value", () => 7, 7],
    ["undefined", () => undefined, undefined],
    // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
    ["a thenable", () => ({ then: (resolve: (value: number) => void) => resolve(7) }), 7],
  ])("gives the value of %s", async (_kind, fn, value) => {
    const { breaker } = circuit();
    await expect(breaker.execute<unknown>(fn)).resolves.toBe(value);
  });

  it("gives the same object that the function gave", async () => {
    const result = { answer: 42 };
    await expect(circuit().breaker.execute(async () => result)).resolves.toBe(result);
  });

  it("clears the streak and is seen in the snapshot", async () => {
    const { breaker, clock } = circuit();
    await breaker.execute(fail).catch(() => {});
    await clock.advance(5_000);
    await breaker.execute(() => 1);
    expect(breaker.snapshot()).toMatchObject({
      failureCount: 0,
      lastFailureAt: clock.now() - 5_000,
      lastSuccessAt: clock.now(),
    });
  });

  it("leaves no timer behind once its deadline would have passed, and one for all at most until then", async () => {
    const { breaker, clock } = circuit({ timeoutMs: 30_000 });
    for (let i = 0; i < 100; i += 1) await breaker.execute(() => i);
    expect(clock.pendingTimers).toBeLessThanOrEqual(2);
    await clock.advance(30_000);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("a call that fails", () => {
  it("rejects with the very error of the function, thrown or rejected, whatever it is", async () => {
    const { breaker } = circuit({ failureThreshold: 100 });
    for (const thrown of [boom, "text", undefined, null, 0, { code: "X" }]) {
      await expect(breaker.execute(() => Promise.reject(thrown))).rejects.toBe(thrown);
      const sync = () => {
        throw thrown;
      };
      await expect(breaker.execute(sync)).rejects.toBe(thrown);
    }
    expect(breaker.getState().failureCount).toBe(12);
  });

  it("does not count when it is a client's error, an abort or another guard's refusal", async () => {
    const { breaker } = circuit({ failureThreshold: 1 });
    const aborted = new DOMException("gone", "AbortError");
    const refused = new CircuitBreakerError({ circuitName: "inner", retryAfterMs: 5 });
    for (const error of [
      new TRPCError({ code: "NOT_FOUND" }),
      new TRPCError({ code: "TOO_MANY_REQUESTS" }),
      aborted,
      refused,
    ]) {
      await expect(breaker.execute(() => Promise.reject(error))).rejects.toBe(error);
    }
    expect(breaker.getState()).toMatchObject({ state: "closed", failureCount: 0 });
    await breaker.execute(() => Promise.reject(new TRPCError({ code: "INTERNAL_SERVER_ERROR" }))).catch(() => {});
    expect(breaker.getState().state).toBe("open");
  });

  it("counts when it cannot even be read", async () => {
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw boom;
        },
        has: () => {
          throw boom;
        },
        getPrototypeOf: () => {
          throw boom;
        },
      },
    );
    const { breaker } = circuit({ failureThreshold: 1 });
    await expect(breaker.execute(() => Promise.reject(hostile))).rejects.toBe(hostile);
    expect(breaker.getState().state).toBe("open");
    await expect(breaker.execute(() => 1)).rejects.toBeInstanceOf(CircuitBreakerError);
  });

  it("is classified as it is told to be", async () => {
    const verdicts = ["ignored", "success", "failure"] as const;
    for (const verdict of verdicts) {
      const { breaker } = circuit({ failureThreshold: 2 }, { classify: () => verdict });
      breaker.tryAcquire()?.failure();
      await breaker.execute(fail).catch(() => {});
      expect(breaker.getState().failureCount).toBe({ ignored: 1, success: 0, failure: 2 }[verdict]);
    }
  });
});

describe("a result that is no success", () => {
  const classifyResult = (value: unknown) =>
    value === "empty" ? "ignored" : value === "bad" ? "failure" : { verdict: "success" as const };

  it("counts as it is judged, and reaches its caller all the same", async () => {
    const { breaker } = circuit({ failureThreshold: 3 }, { classifyResult });
    await expect(breaker.execute(() => "bad")).resolves.toBe("bad");
    await expect(breaker.execute(async () => "bad")).resolves.toBe("bad");
    await expect(breaker.execute(() => "empty")).resolves.toBe("empty");
    expect(breaker.getState().failureCount).toBe(2);
    await breaker.execute(() => "good");
    expect(breaker.getState().failureCount).toBe(0);
    for (let i = 0; i < 3; i += 1) await breaker.execute(() => "bad");
    expect(breaker.getState().state).toBe("open");
  });

  it("gives a probe's permit back when it is ignored", async () => {
    const { breaker, clock } = circuit({ failureThreshold: 1, halfOpenPermits: 1 }, { classifyResult });
    await breaker.execute(fail).catch(() => {});
    await clock.advance(60_000);
    await breaker.execute(() => "empty");
    expect(breaker.getState()).toMatchObject({ state: "half_open", successCount: 0 });
    expect(breaker.tryAcquire()).toBeDefined();
  });

  it("may ask to be left alone: it opens at once, for that time", async () => {
    const { breaker, clock, transitions } = circuit(
      { failureThreshold: 100 },
      { classify: () => ({ verdict: "failure", openForMs: 7_000 }) },
    );
    await breaker.execute(fail).catch(() => {});
    expect(breaker.getState()).toMatchObject({ state: "open", nextRetryTime: clock.now() + 7_000 });
    expect(transitions).toMatchObject([{ reason: "asked_to_wait" }]);
    expect(breaker.refusal().cause).toBe(boom);
  });

  it("may not ask for it when it is none", async () => {
    const { breaker } = circuit({}, { classify: () => ({ verdict: "ignored", openForMs: 7_000 }) });
    await breaker.execute(fail).catch(() => {});
    expect(breaker.getState().state).toBe("closed");
  });

  it("that cannot be judged, or is judged in no known word, is what it looks like, and a fault is told", async () => {
    const faults: unknown[] = [];
    const nonsense = (() => "perhaps") as unknown as () => "failure";
    const nothing = (() => undefined) as unknown as () => "failure";
    for (const bad of [nonsense, nothing]) {
      const { breaker } = circuit(
        { failureThreshold: 2 },
        { classify: bad, classifyResult: bad, onFault: (fault) => faults.push(fault) },
      );
      await expect(breaker.execute(() => 7)).resolves.toBe(7);
      await expect(breaker.execute(fail)).rejects.toBe(boom);
      expect(breaker.getState().failureCount).toBe(1);
      await breaker.execute(() => 7);
      expect(breaker.getState().failureCount).toBe(0);
    }
    expect(faults).toHaveLength(6);
    expect(String(faults[0])).toBe("TypeError: a circuit's verdict is one of failure, success, ignored, got perhaps");
  });
});

describe("a caller who leaves", () => {
  const never = () => new Promise<number>(() => {});

  it("gets the reason at once, and what becomes of the work counts for nothing", async () => {
    const { breaker, clock } = circuit({ failureThreshold: 1 });
    const leaving = new AbortController();
    let reject: (error: Error) => void = () => {};
    let inner: AbortSignal | undefined;
    const call = breaker.execute(
      ({ signal }) => {
        inner = signal;
        return new Promise((_, no) => {
          reject = no;
        });
      },
      { signal: leaving.signal },
    );
    const reason = new Error("gone");
    leaving.abort(reason);
    await expect(call).rejects.toBe(reason);
    expect(inner?.reason).toBe(reason);
    reject(boom);
    await clock.advance(60_000);
    expect(breaker.getState()).toMatchObject({ state: "closed", failureCount: 0 });
    expect(clock.pendingTimers).toBe(0);
  });

  it("gets what the call gave when it leaves while that is being told", async () => {
    const leaving = new AbortController();
    const { breaker } = circuit({ failureThreshold: 1 }, { onTransition: () => leaving.abort(new Error("too late")) });
    const call = breaker.execute(fail, { signal: leaving.signal });
    await expect(call).rejects.toBe(boom);
    expect(breaker.getState()).toMatchObject({ state: "open", failureCount: 1 });
  });

  it("leaves nothing on the caller's signal, however the call ended", async () => {
    const { breaker } = circuit();
    const { signal } = new AbortController();
    await breaker.execute(() => 1, { signal });
    await breaker.execute(fail, { signal }).catch(() => {});
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("gives the place of a probe back", async () => {
    const { breaker, clock } = circuit({ failureThreshold: 1, halfOpenPermits: 1 });
    await breaker.execute(fail).catch(() => {});
    await clock.advance(60_000);
    const leaving = new AbortController();
    const call = breaker.execute(never, { signal: leaving.signal });
    expect(breaker.tryAcquire()).toBeUndefined();
    leaving.abort();
    await expect(call).rejects.toMatchObject({ name: "AbortError" });
    expect(breaker.getState().state).toBe("half_open");
    expect(breaker.tryAcquire()).toBeDefined();
  });

  it("has left before: nothing runs and no permit is taken", async () => {
    const { breaker, clock } = circuit({ failureThreshold: 1, halfOpenPermits: 1 });
    await breaker.execute(fail).catch(() => {});
    await clock.advance(60_000);
    const reason = new Error("gone");
    let ran = false;
    const run = () => {
      ran = true;
    };
    await expect(breaker.execute(run, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(ran).toBe(false);
    expect(breaker.getState().state).toBe("open");
  });

  it("hears of the end of a call that ended first, and nothing stays on its signal", async () => {
    const { breaker } = circuit({ failureThreshold: 5 });
    const staying = new AbortController();
    const listeners: string[] = [];
    const { signal } = staying;
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = ((...args: Parameters<typeof add>) => {
      listeners.push(args[0]);
      add(...args);
    }) as typeof signal.addEventListener;
    signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
      listeners.splice(listeners.indexOf(args[0]), 1);
      remove(...args);
    }) as typeof signal.removeEventListener;
    await expect(breaker.execute(() => 1, { signal })).resolves.toBe(1);
    await expect(breaker.execute(fail, { signal })).rejects.toBe(boom);
    const call = breaker.execute(never, { signal });
    expect(listeners).toEqual(["abort"]);
    staying.abort(boom);
    await expect(call).rejects.toBe(boom);
    expect(listeners).toEqual([]);
    expect(breaker.getState().failureCount).toBe(1);
  });

  it("after the deadline changes nothing", async () => {
    const { breaker, clock } = circuit({ timeoutMs: 50 });
    const leaving = new AbortController();
    const call = breaker.execute(never, { signal: leaving.signal });
    call.catch(() => {});
    await clock.advance(50);
    leaving.abort();
    await expect(call).rejects.toBeInstanceOf(CircuitTimeoutError);
    expect(breaker.getState().failureCount).toBe(1);
  });
});

describe("a call that lasts too long", () => {
  it("is given up at its deadline: a failure for the circuit, GATEWAY_TIMEOUT for the caller, an abort for the work", async () => {
    const { breaker, clock } = circuit({ timeoutMs: 2_000, failureThreshold: 1 });
    let signal: AbortSignal | undefined;
    const call = breaker.execute((context) => {
      signal = context.signal;
      return new Promise(() => {});
    });
    const outcome = call.catch((error: unknown) => error);
    await clock.advance(1_999);
    expect(signal?.aborted).toBe(false);
    await clock.advance(1);
    const error = await outcome;
    expect(error).toBeInstanceOf(CircuitTimeoutError);
    expect(error).toMatchObject({
      code: "GATEWAY_TIMEOUT",
      circuitName: "svc",
      timeoutMs: 2_000,
      message: 'circuit "svc": the call took longer than 2000 ms',
    });
    expect(isRejection(error)).toBe(false);
    expect(signal?.reason).toBe(error);
    expect(breaker.getState().state).toBe("open");
  });

  it("is given up at most 20 ms late when many begin together, never early, exactly when the deadline is short", async () => {
    for (const timeoutMs of [500, 5_000]) {
      const { breaker, clock } = circuit({ timeoutMs, failureThreshold: 100 });
      let ended = 0;
      for (let i = 0; i < 10; i += 1) {
        void breaker
          .execute(() => new Promise(() => {}))
          .catch(() => {
            ended += 1;
          });
        await clock.advance(1);
      }
      await clock.advance(timeoutMs - 11);
      expect(ended).toBe(0);
      await clock.advance(timeoutMs < 1_000 ? 10 : 30);
      expect(ended).toBe(10);
    }
  });

  it("counts once: a success that comes later changes nothing", async () => {
    const { breaker, clock } = circuit({ timeoutMs: 50, failureThreshold: 2 });
    let late: (value: number) => void = () => {};
    const call = breaker.execute(() => new Promise<number>((resolve) => (late = resolve)));
    call.catch(() => {});
    await clock.advance(50);
    late(1);
    await settle();
    expect(breaker.snapshot()).toMatchObject({ failureCount: 1, lastSuccessAt: undefined });
  });

  it("counts once: what the work gives later changes nothing and is nobody's unhandled rejection", async () => {
    const { breaker, clock, transitions } = circuit({ timeoutMs: 50, failureThreshold: 2 });
    let late: (error: Error) => void = () => {};
    const call = breaker.execute(
      () =>
        new Promise((_, reject) => {
          late = reject;
        }),
    );
    call.catch(() => {});
    await clock.advance(50);
    late(boom);
    await settle();
    expect(breaker.getState().failureCount).toBe(1);
    expect(breaker.refusal().cause).toBe(await call.catch((error: unknown) => error));
    expect(transitions).toEqual([]);
    await expect(call).rejects.toBeInstanceOf(CircuitTimeoutError);
  });

  it("hands an aborted signal to work that asks for it afterwards, and makes none for work that does not", async () => {
    const { breaker, clock } = circuit({ timeoutMs: 50 });
    let context: { readonly signal: AbortSignal } | undefined;
    const call = breaker.execute((given) => {
      context = given;
      return new Promise(() => {});
    });
    call.catch(() => {});
    await clock.advance(50);
    expect(context?.signal.aborted).toBe(true);
    expect(context?.signal).toBe(context?.signal);
  });

  it("has its own signal: one timeout aborts no other call", async () => {
    const { breaker, clock } = circuit({ timeoutMs: 500 });
    const signals: AbortSignal[] = [];
    const hang = ({ signal }: { signal: AbortSignal }) => {
      signals.push(signal);
      return new Promise(() => {});
    };
    breaker.execute(hang).catch(() => {});
    await clock.advance(300);
    breaker.execute(hang).catch(() => {});
    await clock.advance(200);
    expect(signals.map((signal) => signal.aborted)).toEqual([true, false]);
  });

  it("gives a probe's place back through a failure, so that the circuit is not stuck half open", async () => {
    const { breaker, clock } = circuit({
      timeoutMs: 100,
      failureThreshold: 1,
      resetTimeoutMs: 1_000,
      halfOpenPermits: 1,
    });
    await breaker.execute(fail).catch(() => {});
    await clock.advance(1_000);
    breaker.execute(() => new Promise(() => {})).catch(() => {});
    expect(breaker.getState().state).toBe("half_open");
    await clock.advance(100);
    expect(breaker.getState().state).toBe("open");
  });
});

describe("a refusal", () => {
  it("does not run the function, and says which circuit, when to come back and why", async () => {
    const { breaker, clock } = circuit({ failureThreshold: 1, resetTimeoutMs: 9_000 });
    await breaker.execute(fail).catch(() => {});
    await clock.advance(1_000);
    let ran = false;
    const error = await breaker
      .execute(() => {
        ran = true;
      })
      .catch((caught: unknown) => caught);
    expect(ran).toBe(false);
    expect(error).toBeInstanceOf(CircuitBreakerError);
    expect(error).toBeInstanceOf(TRPCError);
    expect(error).toMatchObject({
      code: "SERVICE_UNAVAILABLE",
      circuitName: "svc",
      retryAfterMs: 8_000,
      cause: boom,
      message: 'circuit "svc" is open: try again in 8000 ms',
    });
    expect(isRejection(error)).toBe(true);
  });

  it.each([
    { what: "has none", descriptor: { value: undefined, writable: true } },
    { what: "cannot be changed, as with frozen intrinsics", descriptor: { value: 7, writable: false } },
  ])("leaves the process's stack trace limit as it is where that $what", ({ descriptor }) => {
    const before = Object.getOwnPropertyDescriptor(Error, "stackTraceLimit") ?? {};
    Object.defineProperty(Error, "stackTraceLimit", { ...descriptor, configurable: true });
    try {
      const error = new CircuitTimeoutError({ circuitName: "svc", timeoutMs: 5 });
      expect(error.message).toContain("5 ms");
      expect(Error.stackTraceLimit).toBe(descriptor.value);
    } finally {
      Object.defineProperty(Error, "stackTraceLimit", before);
    }
  });

  it("carries no stack unless asked, and leaves the process's own stacks alone", () => {
    const limit = Error.stackTraceLimit;
    const bare = new CircuitBreakerError({ circuitName: "svc", retryAfterMs: 1 });
    expect(bare.stack).not.toContain("\n    at ");
    const traced = new CircuitBreakerError({ circuitName: "svc", retryAfterMs: 1, stack: true });
    expect(traced.stack).toContain("\n    at ");
    expect(new CircuitTimeoutError({ circuitName: "svc", timeoutMs: 1 }).stack).not.toContain("\n    at ");
    expect(Error.stackTraceLimit).toBe(limit);
  });

  it("carries a stack from a circuit that was asked to", async () => {
    const { breaker, clock } = circuit({ timeoutMs: 50 }, { stacks: true });
    const slow = breaker.execute(() => new Promise(() => {}));
    slow.catch(() => {});
    await clock.advance(50);
    await expect(slow).rejects.toMatchObject({ stack: expect.stringContaining("\n    at ") });
    breaker.forceOpen("operator");
    await expect(breaker.execute(() => 1)).rejects.toMatchObject({ stack: expect.stringContaining("\n    at ") });
    const plain = circuit();
    plain.breaker.forceOpen("operator");
    expect(plain.breaker.refusal().stack).not.toContain("\n    at ");
  });

  it("says what stands in the way", async () => {
    const { breaker, clock } = circuit({ successThreshold: 1, rampMs: 1_000 }, { random: () => 0.99 });
    const hold = { state: "forced_open", by: "ada", reason: "test", until: undefined } as const;
    breaker.forceOpen("operator");
    expect(breaker.refusal()).toMatchObject({ reason: "open", retryAfterMs: 60_000 });
    await clock.advance(60_000);
    const probe = breaker.tryAcquire();
    expect(breaker.refusal()).toMatchObject({
      reason: "half_open",
      retryAfterMs: 60_000,
      message: 'circuit "svc" is half open and has as many probes in flight as it may: try again in 60000 ms',
    });
    probe?.success();
    expect(breaker.tryAcquire()).toBeUndefined();
    expect(breaker.refusal()).toMatchObject({
      reason: "ramp",
      retryAfterMs: 1_000,
      message: 'circuit "svc" has just closed and admits a growing share of the calls: try again in 1000 ms',
    });
    breaker.hold(hold);
    expect(breaker.refusal()).toMatchObject({
      reason: "forced_open",
      retryAfterMs: undefined,
      message: 'circuit "svc" is held open by hand: until somebody releases it',
    });
    expect(new CircuitBreakerError({ circuitName: "svc", retryAfterMs: 5 })).toMatchObject({ reason: "open" });
  });

  it("is the same from the gate, which gives no permit", () => {
    const { breaker } = circuit();
    breaker.forceOpen("operator");
    expect(breaker.tryAcquire()).toBeUndefined();
    expect(breaker.refusal()).toMatchObject({ circuitName: "svc", retryAfterMs: 60_000, cause: undefined });
  });
});

describe("a permit", () => {
  it("takes the first result only", () => {
    const { breaker } = circuit({ failureThreshold: 2 });
    const permit = breaker.tryAcquire();
    permit?.failure();
    permit?.failure();
    permit?.success();
    permit?.ignored();
    expect(breaker.getState()).toMatchObject({ state: "closed", failureCount: 1 });
  });

  it("links the transition to the failure that caused it, and later refusals to its error", () => {
    const { breaker, transitions } = circuit({ failureThreshold: 1 });
    breaker.tryAcquire()?.failure({ error: boom, failureEventId: "event-1" });
    expect(transitions).toMatchObject([{ failureEventId: "event-1", instance: "a", circuitName: "svc", version: 1 }]);
    expect(breaker.refusal().cause).toBe(boom);
  });
});

describe("a snapshot", () => {
  it("says since when the circuit is not closed, across reopenings of its last opening, and forgets it when it closed", async () => {
    const { breaker, clock } = circuit({ failureThreshold: 1, successThreshold: 1, resetTimeoutMs: 1_000 });
    const fails = () => breaker.execute(fail).catch(() => {});
    expect(breaker.snapshot().openedAt).toBeUndefined();
    await fails();
    const opened = clock.now();
    await clock.advance(1_000);
    const probe = breaker.tryAcquire();
    expect(breaker.snapshot()).toMatchObject({ state: "half_open", openedAt: opened, nextRetryAt: undefined });
    probe?.failure();
    expect(breaker.snapshot()).toMatchObject({
      state: "open",
      openedAt: clock.now(),
      nextRetryAt: clock.now() + 1_000,
    });
    await clock.advance(1_000);
    await breaker.execute(() => 1);
    expect(breaker.snapshot()).toMatchObject({ state: "closed", openedAt: undefined });
  });

  it("keeps the cause of refusals no longer than the circuit is open", async () => {
    const { breaker } = circuit({ failureThreshold: 1 });
    await breaker.execute(fail).catch(() => {});
    expect(breaker.refusal().cause).toBe(boom);
    breaker.reset("operator");
    breaker.forceOpen("operator");
    expect(breaker.refusal().cause).toBeUndefined();
  });
});

describe("a call of a closed circuit", () => {
  it("costs neither a look at the clock nor a draw by chance, as long as it can change nothing", async () => {
    let looks = 0;
    let draws = 0;
    const clock = createFakeClock();
    const counted = { ...clock, monotonic: () => (looks += 1) };
    const breaker = new CircuitBreaker("svc", {}, { clock: counted, random: () => (draws += 1) });
    await breaker.execute(() => 1);
    const [looksBefore, drawsBefore] = [looks, draws];
    for (let i = 0; i < 10; i += 1) await breaker.execute(() => 1);
    expect([looks - looksBefore, draws - drawsBefore]).toEqual([0, 0]);
  });
});

describe("a circuit that only measures", () => {
  const hold = { state: "metrics_only", by: "ada", reason: "x", until: undefined } as const;

  it("tells of an opening that it makes, not of one that was there", async () => {
    const told: string[] = [];
    const { breaker, clock } = circuit(
      { failureThreshold: 1, successThreshold: 1, resetTimeoutMs: 1_000 },
      { onNotice: ({ rule, reason }) => told.push(`${rule} ${reason}`) },
    );
    breaker.forceOpen("repair");
    breaker.hold(hold);
    await clock.advance(1_000);
    breaker.tryAcquire()?.success();
    expect([breaker.state, told]).toEqual(["closed", []]);
    breaker.tryAcquire()?.failure();
    expect(told).toEqual(["metrics_only failure_threshold"]);
    breaker.reset("operator");
    breaker.hold({ ...hold, state: "forced_open" });
    breaker.forceOpen("repair");
    expect(told).toHaveLength(1);
  });
});

describe("the free ticket", () => {
  const hold = { state: "disabled", by: "ada", reason: "x", until: undefined } as const;
  const options = { failureThreshold: 2, successThreshold: 1, resetTimeoutMs: 1_000, rampMs: 1_000 };

  it("is there exactly while nothing may keep a call away, and no call is measured", async () => {
    const { breaker, clock } = circuit(options);
    const isFree = () => breaker.freeTicket !== undefined;
    expect(isFree()).toBe(true);
    breaker.tryAcquire()?.failure();
    expect(isFree()).toBe(true);
    breaker.tryAcquire()?.failure();
    expect([breaker.state, isFree()]).toEqual(["open", false]);
    await clock.advance(1_000);
    const probe = breaker.tryAcquire();
    expect([breaker.state, isFree()]).toEqual(["half_open", false]);
    probe?.success();
    expect([breaker.state, isFree()]).toEqual(["closed", false]);
    breaker.reset("operator");
    breaker.hold(hold);
    expect(isFree()).toBe(false);
    breaker.release();
    expect(isFree()).toBe(true);
    breaker.shadow({ failureThreshold: 1 });
    expect(isFree()).toBe(false);
    breaker.shadow(undefined);
    breaker.reconfigure({ window: "count", slowCallMs: 10 });
    expect(isFree()).toBe(false);
  });

  it("lets a success count as one of a permit does", async () => {
    const { breaker, clock } = circuit({ failureThreshold: 2 });
    const ticket = breaker.freeTicket;
    breaker.tryAcquire()?.failure();
    await clock.advance(7);
    if (ticket !== undefined) breaker.succeeded(ticket, clock.monotonic());
    expect(breaker.snapshot()).toMatchObject({ failureCount: 0, lastSuccessAt: clock.now() });
  });

  it("becomes a permit, whose result counts in the generation in which it began", () => {
    const { breaker } = circuit({ failureThreshold: 1 });
    const ticket = breaker.freeTicket;
    const permits = ticket === undefined ? [] : [breaker.permitOf(ticket), breaker.permitOf(ticket)];
    permits[0]?.failure({ error: boom });
    expect(breaker.state).toBe("open");
    breaker.reset("operator");
    permits[1]?.failure();
    expect(breaker.state).toBe("closed");
  });
});

describe("a circuit that was taken over", () => {
  it("has the times that were stored, on any clock, and is open since then unless it is closed", async () => {
    const { breaker, clock } = circuit();
    await clock.advance(1_234);
    const now = clock.now();
    const times = { lastFailureAt: now - 700, lastSuccessAt: now - 900, openedAt: now - 500 };
    const stored = { ...breaker.snapshot(), ...times, version: 4, nextRetryAt: now + 1_000 };
    breaker.restore({ ...stored, state: "open" });
    expect(breaker.snapshot()).toMatchObject({ ...times, state: "open", nextRetryAt: now + 1_000 });
    expect(breaker.lastUsedAt).toBe(clock.monotonic() - 700);
    breaker.restore({ ...stored, state: "closed" });
    expect(breaker.snapshot()).toMatchObject({ ...times, state: "closed", openedAt: undefined });
    breaker.restore({ ...stored, state: "closed", lastFailureAt: undefined, lastSuccessAt: undefined });
    expect(breaker.snapshot()).toMatchObject({ lastFailureAt: undefined, lastSuccessAt: undefined });
    expect(breaker.wasUsed).toBe(false);
  });

  it("says whether it keeps calls away", () => {
    const { breaker } = circuit();
    expect(breaker.admitsAll).toBe(true);
    breaker.forceOpen("repair");
    expect(breaker.admitsAll).toBe(false);
  });
});

describe("listeners and hooks that throw", () => {
  it("disturb no call and are told as faults", async () => {
    const faults: unknown[] = [];
    const bad = () => {
      throw boom;
    };
    const { breaker } = circuit(
      { failureThreshold: 1 },
      {
        onTransition: bad,
        classify: bad,
        enforce: bad,
        onFault: (fault) => {
          faults.push(fault);
          throw boom;
        },
      },
    );
    const own = new Error("the service's own");
    await expect(breaker.execute(() => Promise.reject(own))).rejects.toBe(own);
    await expect(breaker.execute(() => 1)).rejects.toBeInstanceOf(CircuitBreakerError);
    expect(faults).toEqual([boom, boom, boom]);
  });

  it("may use the circuit they are told of", async () => {
    const moves: string[] = [];
    const clock = createFakeClock();
    const breaker: CircuitBreaker = new CircuitBreaker(
      "svc",
      { failureThreshold: 1 },
      {
        clock,
        onTransition: ({ to }) => {
          moves.push(`${to}:${breaker.getState().state}`);
          if (to === "open") breaker.reset("repair");
        },
      },
    );
    await breaker.execute(fail).catch(() => {});
    expect(moves).toEqual(["open:open", "closed:closed"]);
  });
});

describe("waiting for what was stored", () => {
  it("holds calls back until it is there, then never again", async () => {
    const { breaker } = circuit();
    let restored: () => void = () => {};
    breaker.waitFor(
      new Promise<void>((resolve) => {
        restored = resolve;
      }),
    );
    let ran = false;
    const call = breaker.execute(() => {
      ran = true;
    });
    await settle();
    expect(ran).toBe(false);
    expect(breaker.ready).toBeDefined();
    restored();
    await call;
    expect(ran).toBe(true);
    expect(breaker.ready).toBeUndefined();
  });

  it("goes on until the last of those that were waited for is there", async () => {
    const { breaker } = circuit();
    let first: () => void = () => {};
    let second: () => void = () => {};
    breaker.waitFor(new Promise<void>((resolve) => (first = resolve)));
    breaker.waitFor(new Promise<void>((resolve) => (second = resolve)));
    first();
    await settle();
    expect(breaker.ready).toBeDefined();
    second();
    await settle();
    expect(breaker.ready).toBeUndefined();
  });

  it("lets calls go when it fails", async () => {
    const faults: unknown[] = [];
    const { breaker } = circuit({}, { onFault: (fault) => faults.push(fault) });
    breaker.waitFor(Promise.reject(boom));
    await expect(breaker.execute(() => 1)).resolves.toBe(1);
    expect(faults).toEqual([boom]);
  });
});

describe("traffic after a closing", () => {
  it("grows from a tenth to all, by chance", async () => {
    let chance = 0;
    const { breaker, clock } = circuit(
      { failureThreshold: 1, successThreshold: 1, resetTimeoutMs: 1_000, rampMs: 1_000 },
      { random: () => chance },
    );
    const admits = (drawn: number) => {
      chance = drawn;
      return breaker.tryAcquire() !== undefined;
    };
    const close = async () => {
      breaker.forceOpen("operator");
      await clock.advance(1_000);
      breaker.tryAcquire()?.success();
    };
    expect(admits(0.99)).toBe(true);
    await close();
    expect([admits(0.099), admits(0.101)]).toEqual([true, false]);
    await clock.advance(500);
    expect([admits(0.549), admits(0.551)]).toEqual([true, false]);
    expect(breaker.refusal().retryAfterMs).toBe(500);
    await clock.advance(499);
    expect([admits(0.999), admits(0.9999)]).toEqual([true, false]);
    await clock.advance(1);
    expect(admits(0.9999)).toBe(true);
    expect(breaker.refusal().retryAfterMs).toBe(0);
  });

  it("is not held back after a reset by hand", async () => {
    const { breaker } = circuit({ rampMs: 1_000 }, { random: () => 0.99 });
    breaker.forceOpen("operator");
    breaker.reset("operator");
    expect(breaker.tryAcquire()).toBeDefined();
  });

  it("that fails opens again, as from any closed circuit", async () => {
    const { breaker, clock, transitions } = circuit(
      { failureThreshold: 1, successThreshold: 1, rampMs: 1_000 },
      { random: () => 0 },
    );
    breaker.forceOpen("operator");
    await clock.advance(60_000);
    breaker.tryAcquire()?.success();
    breaker.tryAcquire()?.failure();
    expect(transitions.at(-1)).toMatchObject({ from: "closed", to: "open", reason: "failure_threshold" });
  });
});

describe("a circuit that is reconfigured", () => {
  it("keeps its window and judges it by the new threshold at once", () => {
    const { breaker, transitions } = circuit({ failureThreshold: 5 });
    for (let i = 0; i < 3; i += 1) breaker.tryAcquire()?.failure();
    breaker.reconfigure({ failureThreshold: 4 });
    expect(breaker.getState()).toMatchObject({ state: "closed", failureCount: 3 });
    breaker.reconfigure({ failureThreshold: 3 });
    expect(transitions).toMatchObject([{ to: "open", reason: "failure_threshold" }]);
  });

  it("keeps what was said before and takes back what becomes undefined", () => {
    const { breaker } = circuit({ failureThreshold: 7, timeoutMs: 500, window: "count", slowCallMs: 50 });
    breaker.reconfigure({ timeoutMs: 900 });
    expect(breaker.config).toMatchObject({ failureThreshold: 7, timeoutMs: 900, slowCallMs: 50 });
    breaker.reconfigure({ slowCallMs: undefined });
    expect(breaker.config).toMatchObject({ timeoutMs: 900, slowCallMs: undefined });
  });

  it("stays as it was when the new options are illegal", () => {
    const { breaker } = circuit({ failureThreshold: 7 });
    expect(() => breaker.reconfigure({ failureThreshold: 0 })).toThrow(/failureThreshold/);
    expect(() => breaker.reconfigure({ slowCallMs: 5 })).toThrow(/slowCallMs needs window/);
    expect(breaker.config.failureThreshold).toBe(7);
    breaker.reconfigure({ successThreshold: 3 });
    expect(breaker.config).toMatchObject({ failureThreshold: 7, successThreshold: 3 });
  });

  it("counts calls that are in flight, keeps the wait while it is open, and settles probes by the new rule", async () => {
    const { breaker, clock, transitions } = circuit({
      failureThreshold: 2,
      resetTimeoutMs: 1_000,
      successThreshold: 3,
    });
    const flying = breaker.tryAcquire();
    breaker.reconfigure({ failureThreshold: 1 });
    flying?.failure();
    expect(breaker.getState().state).toBe("open");
    breaker.reconfigure({ resetTimeoutMs: 50 });
    expect(breaker.getState().nextRetryTime).toBe(clock.now() + 1_000);
    await clock.advance(1_000);
    breaker.tryAcquire()?.success();
    expect(breaker.getState().state).toBe("half_open");
    breaker.reconfigure({ successThreshold: 1 });
    expect(transitions.at(-1)).toMatchObject({ to: "closed", reason: "probes_succeeded" });
  });

  it("counts successes that nobody had told it of yet", () => {
    const { breaker } = circuit({ window: "time", minimumCalls: 4, failureRatio: 0.5 });
    breaker.tryAcquire()?.success();
    for (let i = 0; i < 3; i += 1) breaker.tryAcquire()?.success();
    breaker.reconfigure({ minimumCalls: 2 });
    expect(breaker.counts()).toMatchObject({ calls: 4, failures: 0, slow: 0, failureRatio: 0, slowCallRatio: 0 });
    for (let i = 0; i < 4; i += 1) breaker.tryAcquire()?.failure();
    expect(breaker.getState()).toMatchObject({ state: "open", failureCount: 4 });
  });

  it("measures calls from then on when it is to know slow ones", async () => {
    const { breaker, clock } = circuit({ window: "count", minimumCalls: 1 });
    const before = breaker.tryAcquire();
    breaker.reconfigure({ slowCallMs: 50 });
    await clock.advance(50);
    before?.success();
    expect(breaker.counts().slow).toBe(0);
    const after = breaker.execute(async () => clock.advance(50));
    await after;
    expect(breaker.getState().state).toBe("open");
  });

  it("gives a call that has begun the deadline that it began with", async () => {
    const { breaker, clock } = circuit({ timeoutMs: 100 });
    const call = breaker.execute(() => new Promise(() => {}));
    call.catch(() => {});
    breaker.reconfigure({ timeoutMs: 5_000 });
    await clock.advance(100);
    await expect(call).rejects.toMatchObject({ timeoutMs: 100 });
  });
});

describe("what a circuit would have done", () => {
  const measuring = { state: "metrics_only", by: "ada", reason: "trial", until: undefined } as const;

  it("is told once for each hold, with its reason", async () => {
    const notices: unknown[] = [];
    const { breaker, clock, transitions } = circuit(
      { failureThreshold: 2, successThreshold: 1, resetTimeoutMs: 1_000 },
      { onNotice: (notice) => notices.push(notice) },
    );
    breaker.hold(measuring);
    const fails = () => breaker.tryAcquire()?.failure();
    fails();
    fails();
    const notice = {
      type: "would_have_opened",
      circuitName: "svc",
      rule: "metrics_only",
      reason: "failure_threshold",
      failureCount: 2,
      at: clock.now(),
    };
    expect(notices).toEqual([notice]);
    await clock.advance(1_000);
    fails();
    expect(transitions).toHaveLength(3);
    expect(notices).toHaveLength(1);
    breaker.reset("operator");
    breaker.hold(measuring);
    fails();
    fails();
    expect(notices).toEqual([notice, { ...notice, at: clock.now() }]);
  });

  it("is not told of a circuit that does open, nor may it break a call", () => {
    const faults: unknown[] = [];
    const { breaker } = circuit(
      { failureThreshold: 1 },
      {
        onNotice: () => {
          throw boom;
        },
        onFault: (fault) => faults.push(fault),
      },
    );
    breaker.tryAcquire()?.failure();
    expect(faults).toEqual([]);
    breaker.reset("operator");
    breaker.hold(measuring);
    breaker.tryAcquire()?.failure();
    expect(faults).toEqual([boom]);
  });
});

describe("counts", () => {
  it("are those of the window now, and once open of the window that opened it", async () => {
    const { breaker, clock } = circuit({ window: "time", windowMs: 1_000, minimumCalls: 3, slowCallMs: 10 });
    const slow = breaker.tryAcquire();
    await clock.advance(10);
    slow?.failure();
    breaker.tryAcquire()?.success();
    const known = { calls: 2, failures: 1, slow: 1, slowFailures: 1 };
    expect(breaker.counts()).toEqual({ ...known, failureRatio: undefined, slowCallRatio: undefined });
    expect(breaker.snapshot().failureCount).toBe(1);
    breaker.tryAcquire()?.success();
    expect(breaker.counts()).toEqual({ ...known, calls: 3, failureRatio: 1 / 3, slowCallRatio: 1 / 3 });
    expect(breaker.atRest).toBe(false);
    await clock.advance(1_000);
    const none = { calls: 0, failures: 0, slow: 0, slowFailures: 0, failureRatio: undefined, slowCallRatio: undefined };
    expect(breaker.counts()).toEqual(none);
    expect(breaker.atRest).toBe(true);
    const late = breaker.tryAcquire();
    await clock.advance(10);
    late?.success();
    breaker.tryAcquire()?.success();
    breaker.tryAcquire()?.failure();
    breaker.forceOpen("operator");
    const opened = { calls: 3, failures: 1, slow: 1, slowFailures: 0, failureRatio: 1 / 3, slowCallRatio: 1 / 3 };
    expect(breaker.counts()).toEqual(opened);
    await clock.advance(breaker.config.resetTimeoutMs);
    expect(breaker.counts()).toEqual(opened);
    const probe = breaker.tryAcquire();
    expect(breaker.counts()).toEqual(none);
    breaker.tryAcquire()?.success();
    expect(breaker.counts()).toEqual({ ...none, calls: 1 });
    probe?.failure();
    expect(breaker.counts()).toEqual(opened);
  });

  it("know the failures alone of an opening before a restart", () => {
    const { breaker } = circuit({ window: "count", minimumCalls: 1 });
    const [openedAt, nextRetryAt] = [breaker.snapshot().openedAt, undefined];
    breaker.restore({ ...breaker.snapshot(), state: "open", failureCount: 4, openedAt, nextRetryAt });
    expect(breaker.counts()).toEqual({
      calls: 4,
      failures: 4,
      slow: 0,
      slowFailures: 0,
      failureRatio: undefined,
      slowCallRatio: undefined,
    });
  });

  it("hold every success of a busy circuit, told at once or not", async () => {
    const { breaker, clock } = circuit({ window: "time", windowMs: 1_000 });
    for (let i = 0; i < 100; i += 1) await breaker.execute(() => i);
    expect(breaker.counts().calls).toBe(100);
    await clock.advance(100);
    for (let i = 0; i < 50; i += 1) await breaker.execute(() => i);
    await breaker.execute(fail).catch(() => {});
    expect(breaker.counts()).toMatchObject({ calls: 151, failures: 1 });
    await clock.advance(900);
    expect(breaker.counts()).toMatchObject({ calls: 51, failures: 1 });
  });
});

describe("two circuits of one options object", () => {
  it("share nothing", async () => {
    const options = { failureThreshold: 1 };
    const [a, b] = [circuit(options).breaker, circuit(options).breaker];
    await a.execute(fail).catch(() => {});
    expect([a.getState().state, b.getState().state]).toEqual(["open", "closed"]);
    await expect(b.execute(() => "b")).resolves.toBe("b");
  });
});

describe("a deadline that passed while the process got too little processor", () => {
  const starved = (options: CircuitBreakerOptions = {}) => {
    const clock = createStarvedClock(createFakeClock());
    return { ...circuit({ timeoutMs: 1_000, failureThreshold: 1, ...options }, { clock }), clock };
  };
  const hang = () => new Promise(() => {});

  it.each([
    ["counts while the event loop keeps up", 0, "open"],
    ["counts on a busy one: a service that hangs does not hide behind load", 10, "open"],
    ["says nothing of the service where it was late for most of the time", 80, "closed"],
  ])("%s", async (_what, lateMs, state) => {
    const { breaker, clock } = starved();
    clock.lateMs = lateMs;
    const call = breaker.execute(hang);
    const refused = expect(call).rejects.toBeInstanceOf(CircuitTimeoutError);
    await clock.advance(1_100);
    await refused;
    expect(breaker.state).toBe(state);
  });

  it("gives a probe's permit back, so that the next call is one", async () => {
    const { breaker, clock } = starved({ resetTimeoutMs: 10_000, successThreshold: 1 });
    await breaker.execute(fail).catch(() => {});
    await clock.advance(11_000);
    clock.lateMs = 100;
    const probe = breaker.execute(hang);
    const refused = expect(probe).rejects.toBeInstanceOf(CircuitTimeoutError);
    await clock.advance(1_100);
    await refused;
    expect(breaker.state).toBe("half_open");
    expect(breaker.probes.inFlight).toBe(0);
    clock.lateMs = 0;
    await breaker.execute(() => "well again");
    expect(breaker.state).toBe("closed");
  });
});
