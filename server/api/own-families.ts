/** Paramedic's own state as metric families: circuits, health, pipeline, failures and what was done about them. Pure. */
import { CIRCUIT_STATES, type CircuitCounts, type CircuitSnapshot, HELD_STATES } from "../../shared/circuit.js";
import type { BoundedCounts } from "../../shared/cumulative-series.js";
import type { MetricFamily, NumberSample } from "../../shared/exposition.js";
import { HEALTH_STATUSES, type HealthReport } from "../../shared/health.js";
import { MODES, type Mode } from "../../shared/mode.js";
import type { Accounting, Tags } from "../../shared/series.js";
import { SECOND_MS } from "../../shared/units.js";

/** The pipeline in this process: law 5 up to the stream. */
export interface PipelineCounts {
  readonly recorded: number;
  readonly sent: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly inFlight: number;
  readonly series: number;
  readonly overflowed: number;
  readonly forgotten: number;
  readonly clockSteps: number;
  readonly oldestUnsentAt: number | undefined;
}

/** Entries that this process took from the stream, by what became of them. */
export interface EntryCounts {
  readonly committed: number;
  readonly duplicates: number;
  readonly dead: number;
  /** Trimmed away before anybody read them. */
  readonly lostEntries: number;
  /** Deliveries in a format newer than this version reads. */
  readonly newerSeen: number;
  readonly blocks: BoundedCounts & { readonly sum: number };
}

/** A circuit with what it judges by now. */
export interface CountedCircuit extends CircuitSnapshot {
  readonly counts: CircuitCounts;
}

export interface OwnState {
  /** UTC milliseconds. */
  readonly now: number;
  readonly instance: string;
  readonly mode: Mode;
  readonly storeOpen: boolean;
  readonly circuits: readonly CountedCircuit[];
  /** How this instance and the others get along; undefined where nothing is shared. */
  readonly sharing:
    | {
        readonly pending: number;
        readonly merged: number;
        readonly superseded: number;
        readonly localProbes: number;
        readonly poisoned: readonly string[];
        readonly inTouch: boolean;
      }
    | undefined;
  readonly panic: { readonly beyond: readonly string[]; readonly panics: number };
  readonly health: HealthReport;
  readonly pipeline: PipelineCounts;
  readonly entries: EntryCounts;
  /** Of all processes, by the store's ledger; undefined while that cannot be asked. */
  readonly accounting: Accounting | undefined;
  /** Entries of the stream that nobody has committed; undefined while it cannot be asked. */
  readonly backlog: number | undefined;
  readonly recovery: {
    readonly spooled: number;
    readonly dropped: Readonly<Record<string, number>>;
    readonly repairsWaiting: number;
    readonly repairsRunning: number;
  };
  readonly failures: readonly NumberSample[];
  readonly actions: readonly NumberSample[];
  readonly alerts: readonly NumberSample[];
  readonly transitions: readonly NumberSample[];
  /** Faults of our own, by part. */
  readonly faults: Readonly<Record<string, number>>;
}

/** A family is listed even without samples, so that its name stays its own. */
export function ownFamilies(state: OwnState): readonly MetricFamily[] {
  return [
    ...instanceFamilies(state),
    ...circuitFamilies(state),
    ...sharingFamilies(state),
    ...healthFamilies(state),
    ...pipelineFamilies(state),
    ...recoveryFamilies(state),
    counter(
      "paramedic_alerts",
      "Alerts that this process told, by rule and whether they fired or resolved.",
      state.alerts,
    ),
  ];
}

function instanceFamilies({ instance, mode, storeOpen, faults }: OwnState): readonly MetricFamily[] {
  return [
    info("paramedic_instance", "This process, by the name it has in rows.", { instance }),
    gauge("paramedic_mode", "1 for the mode in force.", oneOf("mode", MODES, mode)),
    gauge("paramedic_store_open", "Whether the store is open in this process.", one(storeOpen ? 1 : 0)),
    counter("paramedic_faults", "Faults of Paramedic itself, by part.", byLabel("part", faults)),
  ];
}

function circuitFamilies({ circuits, transitions }: OwnState): readonly MetricFamily[] {
  const states = [...CIRCUIT_STATES, ...HELD_STATES];
  return [
    gauge(
      "paramedic_circuit_state",
      "1 for the state each circuit is in; a hold by hand wins over the state.",
      circuits.flatMap(({ name, state, held }) => oneOf("state", states, held?.state ?? state, { circuit: name })),
    ),
    gauge(
      "paramedic_circuit_consecutive_failures",
      "Failures in a row while closed.",
      circuits.map(({ name, failureCount }) => ({ labels: { circuit: name }, value: failureCount })),
    ),
    counter("paramedic_circuit_transitions", "Moves of circuits since this process began.", transitions),
  ];
}

function sharingFamilies({ sharing, panic }: OwnState): readonly MetricFamily[] {
  const named = (circuits: readonly string[]) => circuits.map((circuit) => ({ labels: { circuit }, value: 1 }));
  return [
    gauge("paramedic_circuit_beyond_panic", "1 for a circuit that is open and lets calls pass.", named(panic.beyond)),
    counter("paramedic_circuit_panics", "Circuits that opened beyond the panic threshold.", one(panic.panics)),
    gauge(
      "paramedic_circuit_poisoned",
      "1 for a circuit that this instance alone sees failing.",
      named(sharing?.poisoned ?? []),
    ),
    gauge(
      "paramedic_circuit_store_in_touch",
      "Whether circuits are in touch with the store.",
      sharing === undefined ? [] : one(sharing.inTouch ? 1 : 0),
    ),
    gauge("paramedic_circuit_unstored_transitions", "Moves that wait for the store.", maybe(sharing?.pending)),
    counter(
      "paramedic_circuit_lost_transitions",
      "Moves without a row of their own: too many waited, or another instance was faster.",
      sharing === undefined ? [] : byLabel("reason", { merged: sharing.merged, superseded: sharing.superseded }),
    ),
    counter("paramedic_circuit_local_probes", "Probes without the store.", maybe(sharing?.localProbes)),
  ];
}

function healthFamilies({ health }: OwnState): readonly MetricFamily[] {
  return [
    gauge(
      "paramedic_health_status",
      "1 for the status of the whole.",
      oneOf("status", HEALTH_STATUSES, health.overall),
    ),
    gauge(
      "paramedic_health_check_status",
      "1 for the status of each check.",
      health.checks.flatMap(({ name, status }) => oneOf("status", HEALTH_STATUSES, status, { check: name })),
    ),
    gauge(
      "paramedic_health_check_duration_seconds",
      "How long each check's last run took.",
      health.checks.flatMap(({ name, latency, ageMs }) =>
        ageMs === undefined ? [] : [{ labels: { check: name }, value: latency / SECOND_MS }],
      ),
      "seconds",
    ),
    gauge(
      "paramedic_health_check_age_seconds",
      "How long ago each check last ended.",
      health.checks.flatMap(({ name, ageMs }) =>
        ageMs === undefined ? [] : [{ labels: { check: name }, value: ageMs / SECOND_MS }],
      ),
      "seconds",
    ),
  ];
}

function pipelineFamilies({ now, pipeline, entries, accounting, backlog }: OwnState): readonly MetricFamily[] {
  const lagMs = pipeline.oldestUnsentAt === undefined ? 0 : Math.max(0, now - pipeline.oldestUnsentAt);
  return [
    counter("paramedic_pipeline_recorded_points", "Points recorded by this process.", one(pipeline.recorded)),
    counter("paramedic_pipeline_sent_points", "Points that the stream has confirmed.", one(pipeline.sent)),
    counter(
      "paramedic_pipeline_dropped_points",
      "Points that were refused, by reason.",
      byLabel("reason", pipeline.dropped),
    ),
    gauge("paramedic_pipeline_unsent_points", "Points held or on their way.", one(pipeline.inFlight)),
    gauge("paramedic_pipeline_lag_seconds", "Age of the oldest unsent point.", one(lagMs / SECOND_MS), "seconds"),
    gauge("paramedic_pipeline_backlog_entries", "Stream entries that nobody has committed.", maybe(backlog)),
    counter(
      "paramedic_pipeline_entries",
      "Stream entries that this process took: folded, known from before, kept as dead, trimmed before they were read, or left because their format is newer.",
      byLabel("outcome", {
        folded: entries.committed,
        known: entries.duplicates,
        dead: entries.dead,
        trimmed: entries.lostEntries,
        newer: entries.newerSeen,
      }),
    ),
    {
      type: "histogram",
      name: "paramedic_pipeline_commit_block_seconds",
      help: "How long handing an entry to the store held the event loop.",
      unit: "seconds",
      samples: [{ labels: {}, ...entries.blocks }],
    },
    gauge("paramedic_pipeline_series", "Series that live in this process.", one(pipeline.series)),
    counter("paramedic_pipeline_overflowed_series", "Requests for series beyond the cap.", one(pipeline.overflowed)),
    counter(
      "paramedic_pipeline_clock_steps",
      "How often the wall clock stepped, or the machine slept, by more than a second.",
      one(pipeline.clockSteps),
    ),
    counter("paramedic_pipeline_forgotten_series", "Series whose totals made room.", one(pipeline.forgotten)),
    gauge(
      "paramedic_pipeline_lost_points",
      "Points of all processes that were recorded and will not arrive.",
      maybe(accounting?.lost),
    ),
    gauge(
      "paramedic_pipeline_rolled_up_points",
      "Points of all processes that the store has committed.",
      maybe(accounting?.rolledUp),
    ),
  ];
}

function recoveryFamilies({ recovery, failures, actions }: OwnState): readonly MetricFamily[] {
  return [
    counter("paramedic_failures", "Failures seen by this process.", failures),
    counter(
      "paramedic_recovery_actions",
      "What was done about failures: scope call is a rescue, scope service a repair.",
      actions,
    ),
    gauge("paramedic_recovery_spooled_entries", "Journal entries that are no rows yet.", one(recovery.spooled)),
    counter(
      "paramedic_recovery_dropped_entries",
      "Journal entries that did not fit, by kind.",
      byLabel("kind", recovery.dropped),
    ),
    gauge("paramedic_recovery_repairs", "Repairs by where they are.", [
      { labels: { state: "waiting" }, value: recovery.repairsWaiting },
      { labels: { state: "running" }, value: recovery.repairsRunning },
    ]),
  ];
}

function gauge(name: string, help: string, samples: readonly NumberSample[], unit?: string): MetricFamily {
  return { type: "gauge", name, help, samples, unit };
}

function counter(name: string, help: string, samples: readonly NumberSample[]): MetricFamily {
  return { type: "counter", name, help, samples };
}

function info(name: string, help: string, labels: Tags): MetricFamily {
  return { type: "info", name, help, samples: [{ labels, value: 1 }] };
}

function one(value: number): readonly NumberSample[] {
  return [{ labels: {}, value }];
}

function maybe(value: number | undefined): readonly NumberSample[] {
  return value === undefined || !Number.isFinite(value) ? [] : one(value);
}

/** One series per possible state, 1 for the current one: sums over instances then count instances. */
function oneOf(label: string, all: readonly string[], current: string, labels: Tags = {}): readonly NumberSample[] {
  return all.map((state) => ({ labels: { ...labels, [label]: state }, value: state === current ? 1 : 0 }));
}

function byLabel(label: string, counts: Readonly<Record<string, number>>): readonly NumberSample[] {
  return Object.entries(counts).map(([name, value]) => ({ labels: { [label]: name }, value }));
}
