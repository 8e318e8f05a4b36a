/** How a run went, by what Paramedic wrote down about it and by nothing else. */
import type { Store } from "../../../server/ports/store.js";
import type { FailureEvent } from "../../../shared/failure.js";
import type { Incident } from "../../../shared/incident.js";
import type { RecoveryAction } from "../../../shared/recovery.js";
import { isOpenAction } from "../../../shared/repair-lease.js";

export interface Rows {
  readonly failures: readonly FailureEvent[];
  readonly actions: readonly RecoveryAction[];
  readonly incidents: readonly Incident[];
}

const PAGE = 500;

export async function readRows(store: Store): Promise<Rows> {
  const [failures, actions, incidents] = await Promise.all([
    everyRow((cursor) => store.listFailures({ cursor, limit: PAGE })),
    everyRow((cursor) => store.listRecoveries({ cursor, limit: PAGE })),
    everyRow((cursor) => store.listIncidents({ cursor, limit: PAGE })),
  ]);
  return { failures, actions, incidents };
}

async function everyRow<T>(
  pageAt: (
    cursor: string | undefined,
  ) => Promise<{ readonly items: readonly T[]; readonly nextCursor?: string | undefined }>,
): Promise<readonly T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await pageAt(cursor);
    items.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return items;
}

/**
 * Callers of these procedures who got an answer although what they asked first had failed: each by one rescue that succeeded.
 */
export function rescuedCallers({ failures, actions }: Rows, procedures: readonly string[]): number {
  const theirs = new Set(
    failures.filter(({ context }) => procedures.some((path) => path === context?.path)).map(({ eventId }) => eventId),
  );
  return sumOf(
    actions.filter(
      ({ failureEventId, scope, status, dryRun }) =>
        theirs.has(failureEventId) && scope === "call" && status === "succeeded" && !dryRun,
    ),
  );
}

/** What is not over: actions under way, failures and incidents that are open. */
export function openRows({ failures, actions, incidents }: Rows): readonly string[] {
  return [
    ...actions
      .filter(({ status }) => isOpenAction(status))
      .map(({ actionStrategy, target }) => `${actionStrategy} ${target}`),
    ...failures
      .filter(({ resolved }) => !resolved)
      .map(({ affectedService, failureType }) => `${affectedService} ${failureType}`),
    ...incidents.filter(({ status }) => status === "open").map(({ title }) => title),
  ];
}

/** What the engine began itself, under a lease; a circuit that opened is the guard's own. */
export function repairsOf({ actions }: Rows): ReadonlyMap<string, readonly RecoveryAction[]> {
  return byKey(
    actions.filter(({ triggeredBy, leaseUntil }) => triggeredBy !== "guard" && leaseUntil !== undefined),
    ({ target }) => target,
  );
}

/** Mean time from an incident's first failure to its end, by service; milliseconds. */
export function meanRecoveryMs({ incidents }: Rows): ReadonlyMap<string, number> {
  const meanOf = (of: readonly Incident[]) =>
    of.reduce((sum, { startedAt, resolvedAt = startedAt }) => sum + resolvedAt - startedAt, 0) / of.length;
  const closed = incidents.filter(({ resolvedAt }) => resolvedAt !== undefined);
  return new Map([...byKey(closed, (one) => one.affectedService)].map(([service, of]) => [service, meanOf(of)]));
}

function byKey<T>(items: readonly T[], keyOf: (item: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

function sumOf(rows: readonly { readonly occurrences: number }[]): number {
  return rows.reduce((sum, { occurrences }) => sum + occurrences, 0);
}
