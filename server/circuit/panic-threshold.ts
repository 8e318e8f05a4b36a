/**
 * Keeps automation from refusing everything at once: when more than a set share of all circuits opened by themselves, those
 * that opened last only measure, as `metrics_only` does, until others have closed. So many failures at once rather come from
 * what all of them share, and refusing all calls would finish what it began.
 */

/** From this many circuits on: a share of a handful says little. */
export const PANIC_FROM_CIRCUITS = 10;

export interface PanicReport {
  /** Circuits that opened by themselves and have not closed. */
  readonly open: number;
  readonly total: number;
  /** How many of them may refuse calls. */
  readonly allowed: number;
  /** Those that do not refuse. */
  readonly circuits: readonly string[];
}

export interface PanicThreshold {
  /** Takes note of where a circuit is. @param total all circuits there are */
  moved(name: string, isOpenByItself: boolean, total: number): void;
  /** Whether an open circuit may refuse calls. */
  allows(name: string): boolean;
  /** The circuits that do not refuse though they are open, and how often one did not. */
  state(): { readonly beyond: readonly string[]; readonly panics: number };
}

/**
 * @param share of all circuits that may refuse at once, 0 to 1; 1 for no threshold
 * @param report told when the first circuit goes beyond the threshold, and not again before all are back below it
 */
export function createPanicThreshold(share: number, report: (report: PanicReport) => void): PanicThreshold {
  /** In the order in which they opened. */
  const open = new Set<string>();
  let beyond: ReadonlySet<string> = new Set();
  let panics = 0;

  return {
    moved(name, isOpenByItself, total) {
      if (isOpenByItself) open.add(name);
      else open.delete(name);
      const allowed = total < PANIC_FROM_CIRCUITS ? total : Math.floor(share * total);
      const before = beyond;
      beyond = new Set([...open].slice(allowed));
      for (const late of beyond) if (!before.has(late)) panics += 1;
      if (before.size === 0 && beyond.size > 0) report({ open: open.size, total, allowed, circuits: [...beyond] });
    },
    allows: (name) => !beyond.has(name),
    state: () => ({ beyond: [...beyond], panics }),
  };
}
