/** Law 5 over everything: what the ledger says of all lives of all processes, and what this one still has in hand. */
import { brokenInvariant, type ParamedicError } from "../shared/errors.js";
import type { Accounting, BatchGap } from "../shared/series.js";

/** What one boot has recorded so far, whether sent or not. */
export interface BootCounts {
  readonly recorded: number;
  readonly dropped: Readonly<Record<string, number>>;
}

/** What the store's ledger says, one entry a boot. */
export interface LedgerCounts extends BootCounts {
  readonly boot: string;
  readonly rolledUp: number;
  /** In gaps. */
  readonly lost: number;
}

/** What may still arrive. */
export interface StillArriving {
  /** Entries of the stream that are not acknowledged. */
  readonly backlog: number;
  /** Points that this process holds or is sending. */
  readonly unsettledPoints: number;
}

/**
 * Adds up. Points that the ledger misses are lost where it has a gap, and else in flight as far as they can still arrive. While
 * the stream holds entries nobody knows their points without reading them, so all else that is missing counts as in flight
 * until it is empty.
 *
 * @param live read before `ledger`, so that a batch which commits in between is not taken for a loss
 * @param gaps the latest, shown as they are
 * @example closeAccounts(ledger, { boot: "b1", recorded: 10, dropped: {} }, { backlog: 0, unsettledPoints: 3 }, [])
 */
export function closeAccounts(
  ledger: readonly LedgerCounts[],
  live: BootCounts & { readonly boot: string },
  arriving: StillArriving,
  gaps: readonly BatchGap[],
): Accounting {
  const stored = ledger.find((entry) => entry.boot === live.boot);
  const own: LedgerCounts =
    stored !== undefined && stored.recorded > live.recorded
      ? stored
      : {
          boot: live.boot,
          recorded: live.recorded,
          dropped: live.dropped,
          rolledUp: stored?.rolledUp ?? 0,
          lost: stored?.lost ?? 0,
        };
  const dropped = new Map<string, number>();
  let recorded = 0;
  let rolledUp = 0;
  let inGaps = 0;
  for (const boot of [...ledger.filter((entry) => entry !== stored), own]) {
    recorded += boot.recorded;
    rolledUp += boot.rolledUp;
    inGaps += boot.lost;
    for (const [reason, count] of Object.entries(boot.dropped)) dropped.set(reason, (dropped.get(reason) ?? 0) + count);
  }
  const missing = recorded - rolledUp - inGaps - [...dropped.values()].reduce((sum, count) => sum + count, 0);
  const inFlight = arriving.backlog > 0 ? missing : Math.min(missing, arriving.unsettledPoints);
  const lost = inGaps + missing - inFlight;
  return { recorded, rolledUp, dropped: Object.fromEntries(dropped), lost, inFlight, gaps };
}

/** I1 and I7 at run time: why these books cannot be, or undefined. Points were counted twice, or a boot's numbers are in use again. */
export function impossibleIn({ recorded, rolledUp, dropped, lost, inFlight }: Accounting): ParamedicError | undefined {
  if (lost < 0 || inFlight < 0) {
    return brokenInvariant("I7", `${lost} points are lost and ${inFlight} in flight, which is less than none`);
  }
  const told = rolledUp + Object.values(dropped).reduce((sum, count) => sum + count, 0) + lost + inFlight;
  return told === recorded
    ? undefined
    : brokenInvariant("I1", `${recorded} points were recorded, the books tell of ${told}`);
}
