/** cockatiel in scenarios: streaks, windows of calls and of time, one probe. */
import {
  BulkheadRejectedError,
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  CountBreaker,
  circuitBreaker,
  handleWhen,
  type IBreaker,
  IterableBackoff,
  SamplingBreaker,
} from "cockatiel";
import { settle } from "../../support/fake-clock.js";
import { fakeTime } from "./faked-time.js";
import { askOf, type Library, NotFound, type Setting, type Subject, unsupported, type Work } from "./subject.js";

export const cockatiel: Library = {
  name: "cockatiel",
  create(setting): Subject {
    const { slow, openMs = 60_000, openFactor, probes = {} } = setting;
    if (slow !== undefined) unsupported("slow calls");
    if ((probes.successes ?? 1) > 1 || (probes.of ?? 1) > 1 || (probes.permits ?? 1) > 1) unsupported("several probes");
    breakerOf(setting);
    const time = fakeTime();
    let openings = 0;
    const make = (saved: object): CircuitBreakerPolicy => {
      const policy = circuitBreaker(
        handleWhen((error) => !(error instanceof NotFound)),
        {
          breaker: breakerOf(setting),
          halfOpenAfter:
            openFactor === undefined
              ? openMs
              : new IterableBackoff([0, 1, 2, 3].map((opening) => openMs * openFactor ** opening)),
          ...saved,
        },
      );
      policy.onBreak(() => {
        openings += 1;
      });
      return policy;
    };
    let policy = make({});
    const holds: { dispose(): void }[] = [];
    return {
      ask: () =>
        askOf(
          (work: Work) => policy.execute(() => work.run()),
          () => new BulkheadRejectedError(1, 0),
          settle,
        ),
      state: () => STATES[policy.state],
      openings: () => openings,
      failureRatio: () => "untold",
      warnings: () => unsupported("measuring only"),
      pass: time.pass,
      stepWall: time.stepWall,
      hold(kind) {
        if (kind !== "forced_open") unsupported(kind);
        holds.push(policy.isolate());
      },
      release: () => holds.at(-1)?.dispose(),
      halfOpen: () => unsupported("half-opening by hand"),
      restart() {
        policy = make({ initialState: policy.toJSON() });
        // The handle belongs to the policy that is gone.
        holds.length = 0;
      },
      dispose: time.end,
    };
  },
};

const STATES = {
  [CircuitState.Closed]: "closed",
  [CircuitState.Open]: "open",
  [CircuitState.HalfOpen]: "half_open",
  [CircuitState.Isolated]: "open",
} as const;

function breakerOf({ window }: Setting): IBreaker {
  switch (window.kind) {
    case "consecutive":
      return new ConsecutiveBreaker(window.failures);
    case "count":
      return "failures" in window
        ? new CountBreaker({
            size: window.calls,
            // More than half a failure less: its rule is `>`.
            threshold: (window.failures - 0.5) / window.calls,
            minimumNumberOfCalls: window.failures,
          })
        : new CountBreaker({ size: window.calls, threshold: window.ratio, minimumNumberOfCalls: window.minimum });
    case "time":
      if ("failures" in window) return unsupported("a number of failures");
      return new SamplingBreaker({
        duration: window.ms,
        threshold: window.ratio,
        minimumRps: (window.minimum * 1_000) / window.ms,
      });
  }
}
