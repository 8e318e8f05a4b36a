/** Circuits under the names that resilience4j gives its own, so that dashboards made for those show ours. Pure. */
import { CIRCUIT_STATES, HELD_STATES } from "../../shared/circuit.js";
import type { CumulativeSeries } from "../../shared/cumulative-series.js";
import type { MetricFamily, NumberSample } from "../../shared/exposition.js";
import { SECOND_MS } from "../../shared/units.js";
import type { CountedCircuit } from "./own-families.js";

type Kind = "successful" | "failed" | "ignored";

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
 * `_failure_rate` and `_slow_call_rate`.
 */
export function resilience4jFamilies(
  circuits: readonly CountedCircuit[],
  series: readonly CumulativeSeries[],
): readonly MetricFamily[] {
  const calls = guardedCalls(series);
  const timed = calls.flatMap(({ name, outcome, series: one }) => {
    const kind = KIND_OF_OUTCOME.get(outcome);
    return kind === undefined ? [] : [{ labels: { name, kind }, one }];
  });
  const longest = new Map<string, NumberSample>();
  for (const { labels, one } of timed) {
    const key = `${labels.kind} ${labels.name}`;
    longest.set(key, { labels, value: Math.max(longest.get(key)?.value ?? 0, one.max / SECOND_MS) });
  }
  const perCircuit = (name: string, help: string, of: (counts: CountedCircuit["counts"]) => number): MetricFamily => ({
    type: "gauge",
    name: `${PREFIX}_${name}`,
    help,
    samples: circuits.map((circuit) => ({ labels: { name: circuit.name }, value: of(circuit.counts) })),
  });
  return [
    {
      type: "gauge",
      name: `${PREFIX}_state`,
      help: "The states of the circuit breaker",
      samples: circuits.flatMap(({ name, state, held }) =>
        [...CIRCUIT_STATES, ...HELD_STATES].map((possible) => ({
          labels: { name, state: possible },
          value: possible === (held?.state ?? state) ? 1 : 0,
        })),
      ),
    },
    {
      type: "histogram",
      name: `${PREFIX}_calls_seconds`,
      unit: "seconds",
      help: "Total number of calls by kind",
      samples: timed.map(({ labels, one }) => ({
        labels,
        bounds: (one.distribution?.bounds ?? []).map((bound) => bound / SECOND_MS),
        counts: one.distribution?.counts ?? [],
        sum: one.sum / SECOND_MS,
      })),
    },
    {
      type: "gauge",
      name: `${PREFIX}_calls_seconds_max`,
      help: "The longest call by kind since the process began",
      samples: [...longest.values()],
    },
    {
      type: "counter",
      name: `${PREFIX}_not_permitted_calls`,
      help: "Total number of not permitted calls",
      samples: calls
        .filter(({ outcome }) => outcome === "rejected")
        .map(({ name, series: one }) => ({ labels: { name, kind: "not_permitted" }, value: one.count })),
    },
    {
      type: "gauge",
      name: `${PREFIX}_buffered_calls`,
      help: "The calls that the circuit remembers, by kind",
      samples: circuits.flatMap(({ name, failureCount, counts }) => [
        { labels: { name, kind: "failed" }, value: failureCount },
        { labels: { name, kind: "successful" }, value: counts.calls - counts.failures },
      ]),
    },
    perCircuit("slow_calls", "The slow calls that the circuit remembers, of either kind", ({ slow }) => slow),
    perCircuit("failure_rate", "The failure rate in percent", ({ failureRatio }) => percent(failureRatio)),
    perCircuit("slow_call_rate", "The slow call rate in percent", ({ slowCallRatio }) => percent(slowCallRatio)),
  ];
}

function percent(ratio: number | undefined): number {
  return ratio === undefined ? NO_RATE : 100 * ratio;
}

function guardedCalls(series: readonly CumulativeSeries[]) {
  return series.flatMap((one) => {
    const { metricName, source, tags } = one.descriptor;
    const { outcome } = tags;
    return source.startsWith("guard.") && metricName === `${source}.duration` && outcome !== undefined
      ? [{ name: source.slice("guard.".length), outcome, series: one }]
      : [];
  });
}
