/**
 * The last level of recovery: when what could be done by itself did not help, a human is told what was tried; and at once of
 * what only a human can put right.
 */
import { FAILURE_TYPES, type Failure, type JsonObject, type Severity } from "../../shared/failure.js";
import {
  ALERT_OPERATOR,
  type RecoveryAction,
  type RecoveryStrategy,
  type StrategyResult,
} from "../../shared/recovery.js";
import { HOUR_MS } from "../../shared/units.js";
import type { AlertStore } from "../ports/alert-store.js";
import { type Clock, systemClock } from "../ports/clock.js";
import type { Notification } from "../ports/notifier.js";
import type { FailureStore, RecoveryStore } from "../ports/store.js";

/** What a human needs to know to take over. */
export interface OperatorAlert {
  readonly service: string;
  readonly failureEventId: string;
  readonly failureType: Failure["failureType"];
  readonly severity: Severity;
  readonly errorMessage: string | undefined;
  /** Newest first. */
  readonly tried: readonly {
    readonly strategy: string;
    readonly status: RecoveryAction["status"];
    readonly at: number;
    readonly message: string;
  }[];
}

/** The same, for whoever is told of every alert. */
export function operatorNotification({ service, failureEventId, failureType, severity, tried }: OperatorAlert) {
  return {
    dedupeKey: `${ALERT_OPERATOR} ${service}`,
    status: "firing",
    rule: ALERT_OPERATOR,
    severity,
    subject: service,
    summary: summaryOf(service, failureType),
    detail: { failureType, failureEventId, tried },
  } as const satisfies Notification;
}

function summaryOf(service: string, failureType: Failure["failureType"]): string {
  switch (failureType) {
    case "auth_failed":
      return `${service} refuses its credential: give it another one`;
    case "model_unavailable":
      return `${service} does not have the model that it is asked for: name another one`;
    default:
      return `${service} fails still, after everything that could be done by itself: look after it`;
  }
}

export interface AlertOperatorDeps {
  readonly store: Pick<RecoveryStore, "listRecoveries"> &
    Pick<FailureStore, "getFailure"> &
    Pick<AlertStore, "raiseAlert">;
  /** Resolves once somebody can see it; rejects when nobody can. */
  readonly alert: (alert: OperatorAlert) => void | Promise<void>;
  readonly clock?: Clock;
}

const MOST_TRIED = 20;

/**
 * @example
 * engine.registerStrategy(new AlertOperatorStrategy({ store, alert: ({ service, tried }) => page(service, tried) }));
 */
export class AlertOperatorStrategy implements RecoveryStrategy {
  readonly name = ALERT_OPERATOR;
  readonly scope = "service";
  readonly actionType = "custom";
  readonly level = "human";
  readonly priority = 100;
  readonly cooldownMs = HOUR_MS;
  readonly limit = { most: 1, windowMs: HOUR_MS };
  readonly applicableFailureTypes = FAILURE_TYPES;
  readonly #deps: AlertOperatorDeps;

  constructor(deps: AlertOperatorDeps) {
    this.#deps = deps;
  }

  async execute(failure: Failure): Promise<StrategyResult> {
    const { store, alert, clock = systemClock } = this.#deps;
    const startedAt = clock.monotonic();
    const { affectedService: service, eventId, failureType, severity, errorMessage } = failure;
    const { items } = await store.listRecoveries({ target: service, scope: "service", limit: MOST_TRIED });
    const tried = items
      .filter(({ dryRun, actionStrategy }) => !dryRun && actionStrategy !== this.name)
      .map(({ actionStrategy: strategy, status, lastAt: at, result }) => ({
        strategy,
        status,
        at,
        message: typeof result?.message === "string" ? result.message : "",
      }));
    const told: OperatorAlert = { service, failureEventId: eventId, failureType, severity, errorMessage, tried };
    const { dedupeKey, rule, subject, summary, detail } = operatorNotification(told);
    await store.raiseAlert({
      alertId: `${this.name}-${eventId}-${clock.now()}`,
      ...{ dedupeKey, rule, severity, subject, summary, detail },
      incidentId: (await store.getFailure(eventId))?.incidentId,
      at: clock.now(),
    });
    await alert(told);
    return {
      success: true,
      actionType: this.actionType,
      actionStrategy: this.name,
      durationMs: clock.monotonic() - startedAt,
      message: `a human was told that ${service} fails`,
      metadata: { tried: tried satisfies readonly JsonObject[] },
    };
  }
}
