/** What each list can be asked for, as conditions on the columns of either dialect, and where its pages begin and end. */
import { and, type Column, desc, eq, gte, lt, type SQL, sql } from "drizzle-orm";
import type { AlertQuery } from "../ports/alert-store.js";
import type { SettingsStore } from "../ports/settings-store.js";
import type { CircuitStore, FailureQuery, IncidentQuery, RecoveryQuery } from "../ports/store.js";
import type { TaskStore } from "../ports/task-store.js";
import { checkLimit, decodeCursor } from "./page-cursor.js";

type Columns<Name extends string> = Readonly<Record<Name, Column>>;
type Conditions = readonly (SQL | undefined)[];

export function failureFilters(
  query: FailureQuery,
  table: Columns<
    | "failureCategory"
    | "failureType"
    | "severity"
    | "affectedService"
    | "detectionMethod"
    | "resolved"
    | "incidentId"
    | "timestamp"
  >,
): Conditions {
  return [
    equals(table.failureCategory, query.failureCategory),
    equals(table.failureType, query.failureType),
    equals(table.severity, query.severity),
    equals(table.affectedService, query.affectedService),
    equals(table.detectionMethod, query.detectionMethod),
    equals(table.resolved, query.resolved),
    equals(table.incidentId, query.incidentId),
    ...within(table.timestamp, query.from, query.to),
  ];
}

export function incidentFilters(
  query: IncidentQuery,
  table: Columns<"status" | "affectedService" | "startedAt">,
): Conditions {
  return [
    equals(table.status, query.status),
    equals(table.affectedService, query.affectedService),
    ...within(table.startedAt, query.from, query.to),
  ];
}

export function recoveryFilters(
  query: RecoveryQuery,
  table: Columns<"failureEventId" | "actionStrategy" | "status" | "scope" | "target" | "timestamp">,
): Conditions {
  return [
    equals(table.failureEventId, query.failureEventId),
    equals(table.actionStrategy, query.actionStrategy),
    equals(table.scope, query.scope),
    equals(table.status, query.status),
    equals(table.target, query.target),
    ...within(table.timestamp, query.from, query.to),
  ];
}

export function transitionFilters(
  query: Parameters<CircuitStore["listTransitions"]>[0],
  table: Columns<"circuitName" | "to" | "at">,
): Conditions {
  return [
    equals(table.circuitName, query.circuitName),
    equals(table.to, query.to),
    ...within(table.at, query.from, query.until),
  ];
}

export function settingFilters(
  { name }: Parameters<SettingsStore["listSettingChanges"]>[0],
  table: Columns<"name">,
): Conditions {
  return [equals(table.name, name)];
}

export function taskFilters(
  { name, status }: Parameters<TaskStore["listTasks"]>[0],
  table: Columns<"name" | "status">,
): Conditions {
  return [equals(table.name, name), equals(table.status, status)];
}

export function alertFilters(query: AlertQuery, table: Columns<"incidentId" | "status">): Conditions {
  return [equals(table.incidentId, query.incidentId), equals(table.status, query.status)];
}

function equals(column: Column, value: string | boolean | undefined): SQL | undefined {
  return value === undefined ? undefined : eq(column, value);
}

function within(time: Column, from: number | undefined, to: number | undefined): Conditions {
  return [from === undefined ? undefined : gte(time, from), to === undefined ? undefined : lt(time, to)];
}

export interface PageQuery {
  readonly cursor?: string | undefined;
  readonly limit: number;
}

/** A list is sorted by `time`, then by `id`, newest first. */
export interface PageColumns {
  readonly time: Column;
  readonly id: Column;
}

export interface PageClauses {
  readonly where: SQL | undefined;
  readonly orderBy: readonly SQL[];
  readonly limit: number;
}

/**
 * @param conditions of the list's own filters; undefined ones are left out
 * @throws ParamedicError STORE_REQUEST_INVALID for a malformed cursor or limit
 */
export function pageClauses(query: PageQuery, { time, id }: PageColumns, conditions: Conditions): PageClauses {
  const limit = checkLimit(query.limit);
  const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
  return {
    where: and(...conditions, after && sql`(${time}, ${id}) < (${after.timestamp}, ${after.id})`),
    orderBy: [desc(time), desc(id)],
    limit,
  };
}
