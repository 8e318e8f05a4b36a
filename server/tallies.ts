/** Counts what has no series of its own: failures, rescues, repairs, transitions and alerts, bounded by distinct labels. */
import type { CircuitTransition } from "../shared/circuit.js";
import type { NumberSample } from "../shared/exposition.js";
import type { RecoveryAction } from "../shared/recovery.js";
import type { Tags } from "../shared/series.js";
import type { JournalEntry } from "./ports/journal.js";
import type { Notification, Notifier } from "./ports/notifier.js";

export interface Tallies {
  /** Counts failures and rescues. */
  entry(entry: JournalEntry): void;
  /** Of a row that landed; rescues are counted as they end, not again as rows. */
  action(row: RecoveryAction): void;
  transition(transition: CircuitTransition): void;
  /** Of an alert that somebody is told of, whether or not that arrives. */
  alert(notification: Pick<Notification, "rule" | "severity" | "status">): void;
  read(): TalliesRead;
}

export interface TalliesRead {
  readonly failures: readonly NumberSample[];
  readonly actions: readonly NumberSample[];
  readonly transitions: readonly NumberSample[];
  readonly alerts: readonly NumberSample[];
}

/** Services can be named by whoever calls: beyond this many label sets of one family, the rest is counted as one. */
const MOST_LABEL_SETS = 2_000;
const OVERFLOW: Tags = Object.freeze({ overflow: "true" });

/** @example const tallies = createTallies(); tallies.entry(entry); tallies.read().failures */
export function createTallies(): Tallies {
  const failures = createTally();
  const actions = createTally();
  const transitions = createTally();
  const alerts = createTally();
  return Object.freeze<Tallies>({
    entry(entry) {
      switch (entry.type) {
        case "failure.observed": {
          const { affectedService, failureType, severity } = entry.failure;
          failures.add({ service: affectedService, failure_type: failureType, severity });
          break;
        }
        case "rescue.ended": {
          const { actionType, actionStrategy, status, target, dryRun, scope = "call" } = entry.rescue;
          const labels = { scope, type: actionType, strategy: actionStrategy, status, target, dry_run: String(dryRun) };
          // What was done for everybody is counted as a row.
          if (scope === "call") actions.add(labels);
          break;
        }
        // Told by the circuit itself, whether or not there is a journal behind it.
        case "circuit.transitioned":
          break;
      }
    },
    action({ scope, actionType, actionStrategy, status, target, dryRun, occurrences }) {
      if (scope === "call") return;
      const labels = { scope, type: actionType, strategy: actionStrategy, status, target, dry_run: String(dryRun) };
      actions.add(labels, occurrences);
    },
    transition({ circuitName, from, to, reason }) {
      transitions.add({ circuit: circuitName, from, to, reason });
    },
    alert: ({ rule, severity, status }) => alerts.add({ rule, severity, status }),
    read: () => ({
      failures: failures.read(),
      actions: actions.read(),
      transitions: transitions.read(),
      alerts: alerts.read(),
    }),
  });
}

/** The same notifier, with each alert counted. */
export function countAlerts(notifier: Notifier, tallies: Pick<Tallies, "alert">): Notifier {
  return {
    notify(notification) {
      tallies.alert(notification);
      return notifier.notify(notification);
    },
  };
}

function createTally() {
  const counts = new Map<string, { readonly labels: Tags; value: number }>();
  return {
    add(labels: Tags, by = 1): void {
      const key = Object.values(labels).join("\0");
      const known = counts.get(key);
      if (known !== undefined) known.value += by;
      else if (counts.size < MOST_LABEL_SETS) counts.set(key, { labels, value: by });
      else {
        const rest = counts.get("") ?? { labels: OVERFLOW, value: 0 };
        rest.value += by;
        counts.set("", rest);
      }
    },
    read: (): readonly NumberSample[] => [...counts.values()].map(({ labels, value }) => ({ labels, value })),
  };
}
