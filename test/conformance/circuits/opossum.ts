/** opossum in scenarios: its window is of time, its rule a percentage, its probe one. */
import Opossum from "opossum";
import { settle } from "../../support/fake-clock.js";
import { fakeTime } from "./faked-time.js";
import { askOf, type Library, NotFound, type Setting, type Subject, unsupported, type Work } from "./subject.js";

type Breaker = Opossum<[Work], number>;

export const opossum: Library = {
  name: "opossum",
  create(setting): Subject {
    const options = optionsOf(setting);
    const time = fakeTime();
    let openings = 0;
    const make = (saved: object): Breaker => {
      const breaker: Breaker = new Opossum((work: Work) => work.run(), { ...options, ...saved });
      breaker.on("open", () => {
        openings += 1;
      });
      return breaker;
    };
    let breaker = make({});
    return {
      ask: () =>
        askOf(
          (work) => breaker.fire(work),
          () => Object.assign(new Error("Semaphore locked"), { code: "ESEMLOCKED" }),
          settle,
        ),
      state: () => (breaker.opened ? "open" : breaker.halfOpen || breaker.pendingClose ? "half_open" : "closed"),
      openings: () => openings,
      failureRatio: () => "untold",
      warnings: () => unsupported("measuring only"),
      pass: time.pass,
      stepWall: time.stepWall,
      hold(kind) {
        if (kind === "metrics_only") unsupported("measuring only");
        if (kind === "forced_open") breaker.open();
        else breaker.disable();
      },
      release() {
        if (breaker.enabled) breaker.close();
        else breaker.enable();
      },
      halfOpen: () => unsupported("half-opening by hand"),
      restart() {
        const saved = breaker.toJSON();
        breaker.shutdown();
        breaker = make({ state: saved.state });
      },
      dispose() {
        breaker.shutdown();
        time.end();
      },
    };
  },
};

function optionsOf({ window, slow, openMs = 60_000, openFactor, probes = {} }: Setting): Opossum.Options {
  if (slow !== undefined) unsupported("slow calls");
  if (openFactor !== undefined) unsupported("growing waits");
  if ((probes.successes ?? 1) > 1 || (probes.of ?? 1) > 1 || (probes.permits ?? 1) > 1) unsupported("several probes");
  const base = {
    timeout: false,
    resetTimeout: openMs,
    errorFilter: (error: unknown) => error instanceof NotFound,
  } as const;
  switch (window.kind) {
    case "consecutive":
      // The first failure: what its percentage can say of a streak.
      return window.failures === 1 ? { ...base, errorThresholdPercentage: 0.001 } : unsupported("consecutive failures");
    case "count":
      return unsupported("a window of calls");
    case "time":
      if ("failures" in window) return unsupported("a number of failures");
      return {
        ...base,
        errorThresholdPercentage: window.ratio * 100,
        volumeThreshold: window.minimum,
        rollingCountTimeout: window.ms,
      };
  }
}
