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
  /** Each in the order in which they opened, those beyond after those that refuse: what a move costs does not grow with them. */
  const refusing = new Set<string>();
  const beyond = new Set<string>();
  let panics = 0;

  return {
    moved(name, isOpenByItself, total) {
      const allowed = total < PANIC_FROM_CIRCUITS ? total : Math.floor(share * total);
      const hadBeyond = beyond.size > 0;
      const isNew = isOpenByItself && !refusing.has(name) && !beyond.has(name);
      if (isNew) beyond.add(name);
      else if (!isOpenByItself && !refusing.delete(name)) beyond.delete(name);
      for (const next of beyond) {
        if (refusing.size >= allowed) break;
        beyond.delete(next);
        refusing.add(next);
      }
      if (isNew && beyond.has(name)) panics += 1;
      if (refusing.size > allowed) {
        const late = [...refusing].slice(allowed);
        const later = [...beyond];
        beyond.clear();
        for (const one of [...late, ...later]) beyond.add(one);
        for (const one of late) refusing.delete(one);
        panics += late.length;
      }
      if (hadBeyond || beyond.size === 0) return;
      report({ open: refusing.size + beyond.size, total, allowed, circuits: [...beyond] });
    },
    allows: (name) => !beyond.has(name),
    state: () => ({ beyond: [...beyond], panics }),
  };
}
