/** Calls that begin and end in any order, with time, hands and new settings between them: what must hold whatever the order is. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import { CircuitBreakerError } from "../../server/circuit/circuit-breaker-error.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { WINDOW_KINDS } from "../../shared/circuit-config.js";
import { NotFound, ServiceDown } from "../conformance/circuits/subject.js";
import { runs } from "../support/property-runs.js";
import { createStillClock } from "./still-clock.js";

const PERMITS = 2;
const RESET_MS = 100;

const aCall = fc.constantFrom("S" as const, "F" as const, "F" as const, "I" as const);
const aDeed = fc.constantFrom(
  "10 ms",
  "100 ms",
  "100 ms",
  "open it",
  "close it",
  "lease probes",
  "grant probes",
  "reconfigure",
);

describe("in any order of beginnings, ends and deeds", () => {
  it.each(WINDOW_KINDS)(
    "probes are bounded, moves are legal, every call settles: window %s",
    async (window) => {
      await fc.assert(
        fc.asyncProperty(
          fc.scheduler(),
          fc.array(aCall, { minLength: 1, maxLength: 30 }),
          fc.array(aDeed, { maxLength: 12 }),
          async (scheduler, results, deeds) => {
            const clock = createStillClock();
            const transitions: CircuitTransition[] = [];
            /** Probes that run, by the generation they began in. */
            const probing = new Map<number, number>();
            let most = 0;
            let running = 0;
            const breaker: CircuitBreaker = new CircuitBreaker(
              "races",
              {
                window,
                failureThreshold: 2,
                minimumCalls: 2,
                windowMs: 1_000,
                resetTimeoutMs: RESET_MS,
                successThreshold: 2,
                halfOpenPermits: PERMITS,
                // Longer than all that is to happen: no probe is given up.
                probeLeaseMs: 1_000_000,
              },
              {
                clock,
                classify: (error) => (error instanceof NotFound ? "ignored" : "failure"),
                onTransition: (transition) => transitions.push(transition),
              },
            );

            const work = async (result: "S" | "F" | "I", at: number): Promise<number> => {
              const { state, version } = breaker.snapshot();
              running += 1;
              if (state === "half_open") {
                probing.set(version, (probing.get(version) ?? 0) + 1);
                most = Math.max(most, probing.get(version) ?? 0);
              }
              await scheduler.schedule(Promise.resolve(), `end ${at}`);
              running -= 1;
              if (state === "half_open") probing.set(version, (probing.get(version) ?? 0) - 1);
              if (result === "F") throw new ServiceDown();
              if (result === "I") throw new NotFound();
              return at;
            };
            const calls = results.map(async (result, at) => {
              await scheduler.schedule(Promise.resolve(), `begin ${at}`);
              return breaker
                .execute(() => work(result, at))
                .then(
                  (value) => ({ at: value, is: "S" }),
                  (error: unknown) => ({
                    at,
                    is: error instanceof CircuitBreakerError ? "refused" : error instanceof NotFound ? "I" : "F",
                  }),
                );
            });
            for (const deed of deeds) {
              void scheduler.schedule(Promise.resolve(), deed).then(() => {
                switch (deed) {
                  case "10 ms":
                    return clock.leap(10);
                  case "100 ms":
                    return clock.leap(100);
                  case "open it":
                    return breaker.forceOpen("operator");
                  case "close it":
                    return breaker.reset("operator");
                  case "lease probes":
                    return breaker.leaseProbes(!breaker.probesLeased);
                  case "grant probes":
                    return void breaker.grantProbes({ permits: PERMITS, leaseMs: 1_000_000 });
                  case "reconfigure":
                    return breaker.reconfigure({ failureThreshold: breaker.config.failureThreshold === 2 ? 3 : 2 });
                }
              });
            }
            await scheduler.waitAll();
            const ended = await Promise.all(calls);

            expect(most).toBeLessThanOrEqual(PERMITS);
            expect(running).toBe(0);
            for (const [at, { is }] of ended.entries()) expect(["refused", results[at]]).toContain(is);
            expect(transitions.map(({ version }) => version)).toEqual(transitions.map((_, at) => at + 1));
            for (const [at, { from, to }] of transitions.entries()) {
              expect(from).toBe(transitions[at - 1]?.to ?? "closed");
              expect(["closed>open", "open>half_open", "open>closed", "half_open>closed", "half_open>open"]).toContain(
                `${from}>${to}`,
              );
            }
            // No permit was lost on the way: whatever the state, a call is admitted once its time has come.
            breaker.leaseProbes(false);
            clock.leap(1_000_000);
            const admitted = breaker.tryAcquire();
            clock.leap(RESET_MS);
            expect(admitted ?? breaker.tryAcquire()).toBeDefined();
          },
        ),
        { numRuns: runs(300) },
      );
    },
    60_000,
  );
});
