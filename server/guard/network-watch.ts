/**
 * Tells when the network is to blame and not the services: one watch for all services of a kind (`llm:openai` and
 * `llm:gemini` are of the kind `llm`).
 *
 * clear  the services whose latest result is that the network failed are suspects. Two are suspects, each by three in a
 *        row where any service of the kind has answered within `LATELY_MS`, and no other has within `WINDOW_MS` → down
 * down   suspects refuse every call until their hold is over, then admit one as a probe; other services are asked as ever.
 *        any answer of any service, good or bad                                                            → clear
 *        the probe fails on the network too                                                                → down, longer
 *
 * While it is down, a failure of the network says nothing of the service and counts in no circuit.
 */
import type { Random } from "../ports/random.js";

/** Failures further apart than this are not one outage. */
const WINDOW_MS = 10_000;
/** Where somebody has answered within this time, a failure or two of each are chance. */
const LATELY_MS = 1_000;
const MORE_THAN_CHANCE = 3;
/** Short, because most outages are: a restarted router, a changed address. */
const FIRST_HOLD_MS = 500;
const LONGEST_HOLD_MS = 5_000;
/** A probe that has not ended after this long is not waited for. */
const PROBE_LEASE_MS = 10_000;

/** As much of a guarded service as the watch needs. */
export interface WatchedService {
  readonly name: string;
  /** Monotonic; of the last answer, good or bad. */
  readonly answeredAt: number;
}

/** What an attempt may do while the network is watched. */
export type NetworkAdmission = "free" | "probe" | "refused";

export interface NetworkWatch {
  /** Cheap while nothing is suspect. Takes the probe where one is due. */
  admit(service: WatchedService, now: number): NetworkAdmission;
  /** As `admit`, and takes nothing. */
  holdsForMs(service: WatchedService, now: number): number;
  /** `service` was not reached. `true` while the network is to blame. */
  failed(service: WatchedService, now: number): boolean;
  /** `service` answered, whatever it said. */
  answered(): void;
  /** A probe ended without telling anything. */
  returned(): void;
  /** Whether anything is suspect: while it is not, nobody need call `answered`. */
  readonly isWatching: boolean;
}

export interface NetworkWatchDeps {
  readonly random: Random;
  /** Told when the network went down, with how often each suspect failed in a row. */
  readonly onDown: (suspects: ReadonlyMap<string, number>) => void;
}

/** @param services all of the kind, as they are when asked */
export function createNetworkWatch(
  { random, onDown }: NetworkWatchDeps,
  services: () => readonly WatchedService[],
): NetworkWatch {
  const suspects = new Map<string, { failures: number; failedAt: number }>();
  let down: { holdMs: number; until: number; probeUntil: number } | undefined;

  const hold = (now: number, holdMs: number) => {
    const jittered = holdMs * (1 + random() / 2);
    down = { holdMs, until: now + jittered, probeUntil: Number.NEGATIVE_INFINITY };
  };

  const clear = () => {
    suspects.clear();
    watch.isWatching = false;
    down = undefined;
  };

  const isDown = (now: number): boolean => {
    for (const [name, { failedAt }] of suspects) if (failedAt < now - WINDOW_MS) suspects.delete(name);
    if (suspects.size < 2) return false;
    const all = services();
    const telling = all.some(({ answeredAt }) => answeredAt >= now - LATELY_MS) ? MORE_THAN_CHANCE : 1;
    for (const { failures } of suspects.values()) if (failures < telling) return false;
    return all.every(({ name, answeredAt }) => suspects.has(name) || answeredAt < now - WINDOW_MS);
  };

  const holdsForMs = ({ name }: WatchedService, now: number): number => {
    if (down === undefined || !suspects.has(name)) return 0;
    return Math.max(down.until - now, down.probeUntil - now, 0);
  };

  const watch = {
    isWatching: false,
    holdsForMs,
    admit(service: WatchedService, now: number): NetworkAdmission {
      if (down === undefined || !suspects.has(service.name)) return "free";
      if (holdsForMs(service, now) > 0) return "refused";
      down.probeUntil = now + PROBE_LEASE_MS;
      return "probe";
    },
    failed(service: WatchedService, now: number): boolean {
      const failures = (suspects.get(service.name)?.failures ?? 0) + 1;
      suspects.set(service.name, { failures, failedAt: now });
      watch.isWatching = true;
      if (down !== undefined) {
        // Others that were on their way when it went down tell nothing new; the probe does.
        if (now < down.probeUntil) hold(now, Math.min(2 * down.holdMs, LONGEST_HOLD_MS));
        return true;
      }
      if (!isDown(now)) return false;
      hold(now, FIRST_HOLD_MS);
      onDown(new Map([...suspects].map(([name, suspect]) => [name, suspect.failures])));
      return true;
    },
    answered: clear,
    returned() {
      if (down !== undefined) down.probeUntil = Number.NEGATIVE_INFINITY;
    },
  };
  return watch;
}

/** @example kindOf("llm:openai/gpt-4.1") // "llm" */
export function kindOf(service: string): string {
  const end = service.indexOf(":");
  return end === -1 ? service : service.slice(0, end);
}
