/**
 * How much Paramedic may do by itself.
 *
 * shadow    decides and records with `dry_run`, has no effect: one attempt, circuits only measure
 * monitor   shadow, and alerts: what only a human can put right is told to one
 * limited   also opens circuits and rescues, for the services in `limitedServices` only
 * full      does everything
 */
export const MODES = ["shadow", "monitor", "limited", "full"] as const;
export type Mode = (typeof MODES)[number];

/** What `limited` may touch unless policy says more. */
export const LIMITED_SERVICES_DEFAULT: readonly string[] = ["llm:*"];

/** What one mode permits for one service. */
export interface ModePermits {
  /** A human may be told. */
  readonly alerts: boolean;
  /** Circuits refuse calls; otherwise they only report when they would have. */
  readonly circuits: boolean;
  /** Retry, failover and fallback inside a call. */
  readonly rescues: boolean;
  /** Reconnect, reset, restart and the like behind the call. */
  readonly repairs: boolean;
}

/**
 * @param limitedServices exact service names or prefixes ending in `*`; read in `limited` only
 * @example permitsOf("limited", "db:main").rescues // false
 */
export function permitsOf(
  mode: Mode,
  service: string,
  limitedServices: readonly string[] = LIMITED_SERVICES_DEFAULT,
): ModePermits {
  switch (mode) {
    case "shadow":
      return { alerts: false, circuits: false, rescues: false, repairs: false };
    case "monitor":
      return { alerts: true, circuits: false, rescues: false, repairs: false };
    case "limited": {
      const touched = limitedServices.some((pattern) => matchesName(pattern, service));
      return { alerts: true, circuits: touched, rescues: touched, repairs: false };
    }
    case "full":
      return { alerts: true, circuits: true, rescues: true, repairs: true };
  }
}

/** The lower of two modes: the environment's is a ceiling under which the stored one moves. */
export function lowerMode(a: Mode, b: Mode): Mode {
  return MODES.indexOf(a) <= MODES.indexOf(b) ? a : b;
}

/** @param pattern a name, or a prefix ending in `*` */
export function matchesName(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}
