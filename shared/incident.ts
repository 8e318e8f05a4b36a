/** The words for incidents: the failures, transitions, recoveries and alerts of one story. */
export const INCIDENT_STATUSES = ["open", "resolved"] as const;
export type IncidentStatus = (typeof INCIDENT_STATUSES)[number];
