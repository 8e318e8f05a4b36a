/** Gathers what `/metrics` and OpenTelemetry show of one Paramedic, with a time limit on what must be asked for. */
import type { CumulativeSeries } from "../shared/cumulative-series.js";
import type { MetricFamily } from "../shared/exposition.js";
import type { Accounting } from "../shared/series.js";
import { SECOND_MS } from "../shared/units.js";
import { type OwnState, ownFamilies } from "./api/own-families.js";
import { resilience4jFamilies } from "./api/resilience4j-families.js";
import { seriesFamilies } from "./api/series-families.js";
import type { ProcessVitals } from "./instrumentation/process-vitals.js";
import { settlesWithin } from "./metrics/settles-within.js";
import type { Clock } from "./ports/clock.js";

export interface ExpositionDeps {
  readonly clock: Clock;
  /** Everything that is known without asking anybody. */
  readonly state: () => Omit<OwnState, "accounting" | "backlog">;
  readonly series: () => readonly CumulativeSeries[];
  readonly accounting: () => Promise<Accounting>;
  readonly backlog: () => Promise<number>;
  readonly startVitals: () => ProcessVitals;
}

export interface Exposition {
  /** All there is, each name once. Never rejects: what cannot be asked in time is left out. */
  families(also: { readonly resilience4j: boolean }): Promise<readonly MetricFamily[]>;
  /** Paramedic's own state, without what must be asked for. */
  own(): readonly MetricFamily[];
  stop(): void;
}

/** A scraper waits 10 s by default; a store that is away must not make it miss everything else. */
const ASK_MS = SECOND_MS;

/** Measuring of the process begins with the first reader: who never scrapes does not pay for it. */
export function createExposition(deps: ExpositionDeps): Exposition {
  let vitals: ProcessVitals | undefined;
  let stopped = false;
  const ask = <T>(question: () => Promise<T>): Promise<T | undefined> =>
    settlesWithin(deps.clock, ASK_MS, (async () => question())()).catch(() => undefined);

  return Object.freeze<Exposition>({
    async families({ resilience4j }) {
      if (!stopped) vitals ??= deps.startVitals();
      const [accounting, backlog] = await Promise.all([ask(deps.accounting), ask(deps.backlog)]);
      const state = { ...deps.state(), accounting, backlog };
      const series = deps.series();
      const fixed = [
        ...ownFamilies(state),
        ...(vitals?.read() ?? []),
        ...(resilience4j ? resilience4jFamilies(state.circuits, series) : []),
      ];
      const reserved = fixed.map(({ name }) => name);
      return [...seriesFamilies(series, reserved), ...fixed];
    },
    own: () => ownFamilies({ ...deps.state(), accounting: undefined, backlog: undefined }),
    stop() {
      stopped = true;
      vitals?.stop();
    },
  });
}
