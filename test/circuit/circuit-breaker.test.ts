/** What a caller of `execute` gets, and what the circuit makes of it. */
import { TRPCError } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { CircuitBreaker, type CircuitBreakerDeps } from "../../server/circuit/circuit-breaker.js";
import { CircuitBreakerError, CircuitTimeoutError } from "../../server/circuit/circuit-breaker-error.js";
import type { CircuitBreakerOptions } from "../../server/circuit/circuit-config.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { isRejection } from "../../shared/rejection.js";
import { createFakeClock, settle } from "../support/fake-clock.js";

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
    expect(error).toMatchObject({ code: "GATEWAY_TIMEOUT", circuitName: "svc", timeoutMs: 2_000 });
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

  it("carries no stack unless asked, and leaves the process's own stacks alone", () => {
    const limit = Error.stackTraceLimit;
    const bare = new CircuitBreakerError({ circuitName: "svc", retryAfterMs: 1 });
    expect(bare.stack).not.toContain("\n    at ");
    const traced = new CircuitBreakerError({ circuitName: "svc", retryAfterMs: 1, stack: true });
    expect(traced.stack).toContain("\n    at ");
    expect(new CircuitTimeoutError({ circuitName: "svc", timeoutMs: 1 }).stack).not.toContain("\n    at ");
    expect(Error.stackTraceLimit).toBe(limit);
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

  it("lets calls go when it fails", async () => {
    const faults: unknown[] = [];
    const { breaker } = circuit({}, { onFault: (fault) => faults.push(fault) });
    breaker.waitFor(Promise.reject(boom));
    await expect(breaker.execute(() => 1)).resolves.toBe(1);
    expect(faults).toEqual([boom]);
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
