/** Circuits under the names that resilience4j gives its own, so that dashboards made for those show ours. Pure. */
import { CIRCUIT_STATES, type CircuitSnapshot, HELD_STATES } from "../../shared/circuit.js";
import type { CumulativeSeries } from "../../shared/cumulative-series.js";
import type { MetricFamily, NumberSample } from "../../shared/exposition.js";
import { SECOND_MS } from "../../shared/units.js";

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

/** `_state`, `_calls_seconds` with `_max`, and `_not_permitted_calls_total`. */
export function resilience4jFamilies(
  circuits: readonly CircuitSnapshot[],
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
      help: "The failed calls in a row that the circuit remembers",
      samples: circuits.map(({ name, failureCount }) => ({ labels: { name, kind: "failed" }, value: failureCount })),
    },
  ];
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
