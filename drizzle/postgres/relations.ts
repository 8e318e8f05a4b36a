/** How the tables on PostgreSQL hang together, for Drizzle's relational queries: pass them with the tables as `schema`. */
import { relations } from "drizzle-orm";
import { alerts, notificationOutbox } from "./schema/alerts.js";
import { circuitBreakerStates, circuitTransitions } from "./schema/circuits.js";
import { failureEvents } from "./schema/failures.js";
import { incidents } from "./schema/incidents.js";
import { ingestBoots, ingestLedger, metricRollups, metricSeries } from "./schema/metrics.js";
import { recoveryActions } from "./schema/recoveries.js";
import { settings, settingsHistory } from "./schema/settings.js";

/** @example db.query.failureEvents.findMany({ with: { recoveryActions: true, transitions: true } }) */
export const failureEventsRelations = relations(failureEvents, ({ one, many }) => ({
  recoveryActions: many(recoveryActions),
  transitions: many(circuitTransitions),
  incident: one(incidents, { fields: [failureEvents.incidentId], references: [incidents.incidentId] }),
}));

export const recoveryActionsRelations = relations(recoveryActions, ({ one }) => ({
  failureEvent: one(failureEvents, {
    fields: [recoveryActions.failureEventId],
    references: [failureEvents.eventId],
  }),
}));

export const incidentsRelations = relations(incidents, ({ many }) => ({
  failureEvents: many(failureEvents),
  alerts: many(alerts),
}));

export const circuitBreakerStatesRelations = relations(circuitBreakerStates, ({ many }) => ({
  transitions: many(circuitTransitions),
}));

export const circuitTransitionsRelations = relations(circuitTransitions, ({ one }) => ({
  circuit: one(circuitBreakerStates, {
    fields: [circuitTransitions.circuitName],
    references: [circuitBreakerStates.circuitName],
  }),
  failureEvent: one(failureEvents, {
    fields: [circuitTransitions.failureEventId],
    references: [failureEvents.eventId],
  }),
}));

export const metricSeriesRelations = relations(metricSeries, ({ many }) => ({
  rollups: many(metricRollups),
}));

export const metricRollupsRelations = relations(metricRollups, ({ one }) => ({
  series: one(metricSeries, { fields: [metricRollups.seriesId], references: [metricSeries.id] }),
}));

export const ingestBootsRelations = relations(ingestBoots, ({ many }) => ({
  batches: many(ingestLedger),
}));

export const ingestLedgerRelations = relations(ingestLedger, ({ one }) => ({
  boot: one(ingestBoots, {
    fields: [ingestLedger.instance, ingestLedger.boot],
    references: [ingestBoots.instance, ingestBoots.boot],
  }),
}));

export const alertsRelations = relations(alerts, ({ one, many }) => ({
  incident: one(incidents, { fields: [alerts.incidentId], references: [incidents.incidentId] }),
  notifications: many(notificationOutbox),
}));

export const notificationOutboxRelations = relations(notificationOutbox, ({ one }) => ({
  alert: one(alerts, { fields: [notificationOutbox.alertId], references: [alerts.alertId] }),
}));

export const settingsRelations = relations(settings, ({ many }) => ({
  history: many(settingsHistory),
}));

export const settingsHistoryRelations = relations(settingsHistory, ({ one }) => ({
  setting: one(settings, { fields: [settingsHistory.name], references: [settings.name] }),
}));
