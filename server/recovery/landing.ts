/**
 * Writes drained journal entries into rows, in order: failures first, since rescues and openings refer to the stored event
 * into which theirs was folded. While the store is away everything goes back into the journal as it was; an entry that the
 * store refuses for what it is would block all others for ever, so it is let go and counted.
 */
import { isParamedicError } from "../../shared/errors.js";
import { type Failure, fingerprintOf } from "../../shared/failure.js";
import type { RecoveryAction } from "../../shared/recovery.js";
import { MINUTE_MS } from "../../shared/units.js";
import type { FailureSighting, FailureStore, RecoveryStore } from "../ports/store.js";
import type { SpooledEntry, SpooledFailure, SpooledRescue, SpooledTransition, SpoolingJournal } from "./journal.js";
import { createRecentMap } from "./recent-map.js";
import { circuitBreakRow, failureOfOpening, openedByItself, rescueRow } from "./recovery-rows.js";
import { isStoreAway } from "./store-away.js";

/** A failure that is now a row, as repairs see it. */
export interface LandedFailure {
  /** The event id is that of the stored event. */
  readonly failure: Failure;
  readonly fingerprint: string;
  readonly occurrences: number;
  readonly lastSeenAt: number;
  /** Every caller was rescued, as far as the journal says. */
  readonly rescued: boolean;
  /** Rescues of it that landed with it. */
  readonly rescues: readonly SpooledRescue[];
}

export interface LandingDeps {
  readonly journal: SpoolingJournal;
  readonly store: Pick<FailureStore, "recordFailures"> & Pick<RecoveryStore, "recordRescues">;
  readonly instance: string;
  /** Whether the mode lets circuits of this name open; else the opening is only what would have been done. */
  readonly circuitsPermitted: (circuitName: string) => boolean;
  /** The failure as bad as it is for this app. Must not throw. */
  readonly assess: (failure: Failure) => Failure;
  /** Told of each failure that is a row now; gives the row of a decision against acting, if that is what follows. */
  readonly decide: (landed: LandedFailure) => RecoveryAction | undefined;
  readonly onRow: (row: RecoveryAction) => void;
  readonly onFault: (error: unknown) => void;
}

export interface Landing {
  /** Lands up to `max` entries and gives how many there were. Rejects while the store is away; nothing is lost then. */
  land(max: number): Promise<number>;
  /** Writes one sighting at once and gives it as it is stored. Rejects while the store is away. */
  landOne(failure: Failure): Promise<LandedFailure>;
  /** A sighting as it is while the store is away. */
  unstored(failure: Failure): LandedFailure;
  /** Takes a row that could not be written; it lands before anything else. */
  keep(row: RecoveryAction): void;
  /** Rescues whose failure was never stored, and entries that the store refused. */
  readonly lost: { readonly unlinked: number; readonly refused: number };
}

/** How many stored events are remembered for what refers to them later. */
const REMEMBERED_EVENTS = 10_000;

/** An opening that names no failure belongs to the one of its service that was last seen, if that was no longer ago. */
const OPENED_AFTER_MS = MINUTE_MS;

export function createLanding({
  journal,
  store,
  instance,
  circuitsPermitted,
  assess,
  decide,
  onRow,
  onFault,
}: LandingDeps): Landing {
  const eventByFingerprint = createRecentMap<string, string>(REMEMBERED_EVENTS);
  const eventById = createRecentMap<string, string>(REMEMBERED_EVENTS);
  const eventByService = createRecentMap<string, { readonly eventId: string; readonly at: number }>(REMEMBERED_EVENTS);
  const lost = { unlinked: 0, refused: 0 };
  let kept: readonly RecoveryAction[] = [];

  const refuse = (error: unknown) => {
    lost.refused += 1;
    onFault(error);
  };

  const recordFailures = async (failures: readonly SpooledFailure[]): Promise<ReadonlyMap<string, string>> => {
    const stored = new Map<string, string>();
    const sightings = failures.map((entry): FailureSighting => {
      const { failure, fingerprint, occurrences, lastSeenAt } = entry;
      return { failure, fingerprint, occurrences, lastSeenAt, instance };
    });
    await writeTolerantly(
      sightings,
      async (some) => {
        for (const [eventId, storedId] of await store.recordFailures(some)) stored.set(eventId, storedId);
      },
      refuse,
    );
    for (const { failure, fingerprint, lastSeenAt } of failures) {
      const eventId = stored.get(failure.eventId);
      if (eventId === undefined) continue;
      eventByFingerprint.set(fingerprint, eventId);
      eventById.set(failure.eventId, eventId);
      eventById.set(eventId, eventId);
      eventByService.set(failure.affectedService, { eventId, at: lastSeenAt });
    }
    return stored;
  };

  const eventOf = (eventId: string | undefined, fingerprint: string | undefined, stored: ReadonlyMap<string, string>) =>
    (eventId === undefined ? undefined : stored.get(eventId)) ??
    (fingerprint === undefined ? undefined : eventByFingerprint.get(fingerprint)) ??
    (eventId === undefined ? undefined : eventById.get(eventId));

  const openingRow = async (entry: SpooledTransition, stored: ReadonlyMap<string, string>) => {
    const { transition, actionId, fingerprint } = entry;
    const latest = eventByService.get(transition.circuitName);
    const recent = latest && transition.at - latest.at <= OPENED_AFTER_MS ? latest.eventId : undefined;
    const known = eventOf(transition.failureEventId, fingerprint, stored) ?? recent;
    // The action's id makes the sighting's too, so that landing it twice writes it once.
    const failureEventId =
      known ?? (await recordFailures([sightingOf(failureOfOpening(transition, actionId))])).get(actionId);
    if (failureEventId === undefined) return undefined;
    return circuitBreakRow(transition, !circuitsPermitted(transition.circuitName), {
      actionId,
      failureEventId,
      instance,
    });
  };

  const landRows = async (entries: readonly SpooledEntry[], stored: ReadonlyMap<string, string>) => {
    const rows: RecoveryAction[] = [];
    let unlinked = 0;
    for (const entry of entries) {
      switch (entry.type) {
        case "failure.observed":
          break;
        case "rescue.ended": {
          const failureEventId = eventOf(entry.rescue.failureEventId, entry.fingerprint, stored);
          if (failureEventId === undefined) unlinked += entry.occurrences;
          else rows.push(rescueRow(entry, { actionId: entry.actionId, failureEventId, instance }));
          break;
        }
        case "circuit.transitioned": {
          const { transition } = entry;
          const row =
            openedByItself(transition) && transition.instance === instance
              ? await openingRow(entry, stored)
              : undefined;
          if (row) rows.push(row);
          break;
        }
      }
    }
    await writeRows(rows);
    lost.unlinked += unlinked;
  };

  const writeRows = async (rows: readonly RecoveryAction[]) => {
    const refused = new Set<RecoveryAction>();
    await writeTolerantly(
      rows,
      (some) => store.recordRescues(some),
      (error, row) => {
        refused.add(row);
        refuse(error);
      },
    );
    for (const row of rows) if (!refused.has(row)) onRow(row);
  };

  const writeKept = async () => {
    const rows = kept;
    await writeRows(rows);
    kept = kept.slice(rows.length);
  };

  return Object.freeze<Landing>({
    async land(max) {
      await writeKept();
      const entries = journal.drain(max);
      // What goes back into the journal goes as it came: it is assessed when it lands.
      const failures = entries
        .filter((entry) => entry.type === "failure.observed")
        .map((entry) => ({ ...entry, failure: assess(entry.failure) }));
      const others = entries.filter((entry) => entry.type !== "failure.observed");
      let stored: ReadonlyMap<string, string> = new Map();
      if (failures.length > 0) {
        try {
          stored = await recordFailures(failures);
        } catch (error) {
          journal.restore(entries);
          throw error;
        }
        const rescues = others.filter((entry) => entry.type === "rescue.ended");
        const decided = landedOf(failures, rescues, stored).map((landed) => decide(landed));
        kept = [...kept, ...decided.filter((row) => row !== undefined)];
      }
      try {
        if (others.length > 0) await landRows(others, stored);
      } catch (error) {
        journal.restore(others);
        throw error;
      }
      await writeKept();
      return entries.length;
    },
    async landOne(failure) {
      const sighting = { ...sightingOf(failure), failure: assess(failure) };
      const stored = await recordFailures([sighting]);
      const [landed] = landedOf([sighting], [], stored);
      return landed ?? { ...sighting, rescued: false, rescues: [] };
    },
    unstored: (failure) => ({ ...sightingOf(failure), rescued: false, rescues: [] }),
    keep(row) {
      kept = [...kept, row];
    },
    get lost() {
      return { ...lost };
    },
  });
}

function sightingOf(failure: Failure): SpooledFailure {
  const fingerprint = fingerprintOf(failure);
  return {
    type: "failure.observed",
    failure,
    fingerprint,
    occurrences: 1,
    rescued: 0,
    lastSeenAt: failure.timestamp,
  };
}

/** One per stored event: sightings that came back to the journal stand beside newer ones of the same failure. */
function landedOf(
  failures: readonly SpooledFailure[],
  rescues: readonly SpooledRescue[],
  stored: ReadonlyMap<string, string>,
): LandedFailure[] {
  const landed = new Map<string, LandedFailure>();
  for (const { failure, fingerprint, occurrences, rescued, lastSeenAt } of failures) {
    const eventId = stored.get(failure.eventId);
    if (eventId === undefined) continue;
    const before = landed.get(eventId);
    landed.set(eventId, {
      failure: { ...failure, eventId },
      fingerprint,
      occurrences: occurrences + (before?.occurrences ?? 0),
      lastSeenAt: Math.max(lastSeenAt, before?.lastSeenAt ?? lastSeenAt),
      rescued: rescued >= occurrences && (before?.rescued ?? true),
      rescues: rescues.filter((rescue) => rescue.fingerprint === fingerprint),
    });
  }
  return [...landed.values()];
}

/**
 * Writes all at once; when that is refused for another reason than the store being away, one by one, so that only what is
 * itself at fault is lost. When not even one can be written, and the store does not say that the request is invalid, the
 * store is taken to be at fault.
 */
async function writeTolerantly<T>(
  items: readonly T[],
  write: (some: readonly T[]) => Promise<void>,
  onRefused: (error: unknown, item: T) => void,
): Promise<void> {
  if (items.length === 0) return;
  try {
    return await write(items);
  } catch (error) {
    if (isStoreAway(error)) throw error;
    const refusals: { readonly item: T; readonly error: unknown }[] = [];
    for (const item of items) {
      try {
        await write([item]);
      } catch (refusal) {
        if (isStoreAway(refusal)) throw refusal;
        refusals.push({ item, error: refusal });
      }
    }
    const told = refusals.every((refusal) => isParamedicError(refusal.error, "STORE_REQUEST_INVALID"));
    if (refusals.length === items.length && !told) throw error;
    for (const refusal of refusals) onRefused(refusal.error, refusal.item);
  }
}
