/** Circuits under the names that resilience4j gives its own, so that dashboards made for those show ours. Pure. */
import { CIRCUIT_STATES, HELD_STATES } from "../../shared/circuit.js";
import type { CumulativeSeries } from "../../shared/cumulative-series.js";
import type { HistogramSample, MetricFamily } from "../../shared/exposition.js";
import type { Tags } from "../../shared/series.js";
import { SECOND_MS } from "../../shared/units.js";
import type { CountedCircuit } from "./own-families.js";

const KINDS = ["successful", "failed", "ignored"] as const;
type Kind = (typeof KINDS)[number];

/** A guard's outcome as the circuit judges it; what was refused at the door is counted apart. */
const KIND_OF_OUTCOME: ReadonlyMap<string, Kind> = new Map([
  ["success", "successful"],
  ["server_error", "failed"],
  ["timeout", "failed"],
  ["client_error", "ignored"],
  ["aborted", "ignored"],
]);

const PREFIX = "resilience4j_circuitbreaker";

/** What resilience4j says of a rate while the calls are too few. */
const NO_RATE = -1;

/**
 * `_state`, `_calls_seconds` with `_max`, `_not_permitted_calls_total`, `_buffered_calls`, `_slow_calls`, and in percent
 * `_failure_rate` and `_slow_call_rate`, by resilience4j's labels `name`, `kind` and `state`. A guard that was called has
 * every kind; a circuit without a guard has no calls, because nobody times them.
 */
export function resilience4jFamilies(
  circuits: readonly CountedCircuit[],
  series: readonly CumulativeSeries[],
): readonly MetricFamily[] {
  const guards = [...guardedCalls(series)].map(([name, calls]) => ({ name, calls }));
  const timed = guards.flatMap(({ name, calls }) =>
    KINDS.map((kind) => ({
      labels: { name, kind },
      calls: calls.filter(({ outcome }) => KIND_OF_OUTCOME.get(outcome) === kind).map(({ series: one }) => one),
    })),
  );
  const gauge = (
    name: string,
    help: string,
    of: (circuit: CountedCircuit) => readonly (readonly [value: number, labels?: Tags])[],
  ): MetricFamily => ({
    type: "gauge",
    name: `${PREFIX}_${name}`,
    help,
    samples: circuits.flatMap((circuit) =>
      of(circuit).map(([value, labels]) => ({ labels: { name: circuit.name, ...labels }, value })),
    ),
  });
  return [
    gauge("state", "The states of the circuit breaker", ({ state, held }) =>
      [...CIRCUIT_STATES, ...HELD_STATES].map((one) => [one === (held?.state ?? state) ? 1 : 0, { state: one }]),
    ),
    {
      type: "histogram",
      name: `${PREFIX}_calls_seconds`,
      unit: "seconds",
      help: "Total number of calls by kind",
      samples: timed.flatMap(({ labels, calls }) =>
        (calls.length === 0 ? [NO_CALLS] : calls.map(inSeconds)).map((sample) => ({ labels, ...sample })),
      ),
    },
    {
      type: "gauge",
      name: `${PREFIX}_calls_seconds_max`,
      help: "The longest call by kind since the process began",
      samples: timed.map(({ labels, calls }) => ({
        labels,
        value: Math.max(0, ...calls.map(({ max }) => max)) / SECOND_MS,
      })),
    },
    {
      type: "counter",
      name: `${PREFIX}_not_permitted_calls`,
      help: "Total number of not permitted calls",
      samples: guards.map(({ name, calls }) => ({
        labels: { name, kind: "not_permitted" },
        value: calls.reduce((sum, { outcome, series: one }) => sum + (outcome === "rejected" ? one.count : 0), 0),
      })),
    },
    gauge("buffered_calls", "The calls that the circuit judges by, by kind", ({ counts }) => [
      [counts.failures, { kind: "failed" }],
      [counts.calls - counts.failures, { kind: "successful" }],
    ]),
    gauge("slow_calls", "The slow ones of the calls that the circuit judges by, by kind", ({ counts }) => [
      [counts.slowFailures, { kind: "failed" }],
      [counts.slow - counts.slowFailures, { kind: "successful" }],
    ]),
    gauge("failure_rate", "The failure rate in percent", ({ counts }) => [[percent(counts.failureRatio)]]),
    gauge("slow_call_rate", "The slow call rate in percent", ({ counts }) => [[percent(counts.slowCallRatio)]]),
  ];
}

function percent(ratio: number | undefined): number {
  return ratio === undefined ? NO_RATE : 100 * ratio;
}

const NO_CALLS: Omit<HistogramSample, "labels"> = { bounds: [], counts: [0], sum: 0 };

function inSeconds({ distribution, sum }: CumulativeSeries): Omit<HistogramSample, "labels"> {
  return {
    bounds: (distribution?.bounds ?? []).map((bound) => bound / SECOND_MS),
    counts: distribution?.counts ?? [],
    sum: sum / SECOND_MS,
  };
}

/** By guard. */
function guardedCalls(series: readonly CumulativeSeries[]) {
  const guards = new Map<string, { readonly outcome: string; readonly series: CumulativeSeries }[]>();
  for (const one of series) {
    const { metricName, source, tags } = one.descriptor;
    const { outcome } = tags;
    if (!source.startsWith("guard.") || metricName !== `${source}.duration` || outcome === undefined) continue;
    const name = source.slice("guard.".length);
    const calls = guards.get(name) ?? [];
    guards.set(name, calls);
    calls.push({ outcome, series: one });
  }
  return guards;
}
