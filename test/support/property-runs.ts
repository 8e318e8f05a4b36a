/** How often a property is tried: what a quick run has time for, or FAST_CHECK_RUNS times in a long one. */

/**
 * @param usual runs while the variable is not set
 * @param share of the variable's runs, for a property whose single run is slow
 * @example fc.assert(fc.property(…), { numRuns: runs(100) });
 */
export function runs(usual: number, share = 1): number {
  const asked = process.env.FAST_CHECK_RUNS;
  return asked === undefined || asked === "" ? usual : Math.max(Math.ceil(Number(asked) * share), 1);
}
