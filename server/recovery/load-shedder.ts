/**
 * Sheds load while the event loop is late: the calls that matter least are refused at the door, early and clearly, so that
 * the others still get an answer. A reflex of this process alone, told in the journal when it begins and when it is over.
 */
import type { Failure } from "../../shared/failure.js";
import type { Criticality } from "../../shared/health.js";
import { CALM, type LoadState, nextLoad } from "../../shared/load-level.js";
import { SECOND_MS } from "../../shared/units.js";
import type { Clock, Timer } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { Journal } from "../ports/journal.js";
import type { LoadGate } from "../ports/load-gate.js";

export interface LoadShedderDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly journal: Journal;
  readonly instance: string;
  /** Whether the mode lets calls be refused; else it is only written down that they would have been. */
  readonly permitted: () => boolean;
}

export interface LoadShedderOptions {
  /** From this lateness of the event loop on optional calls are refused, from twice as much all but critical ones; 10 to 60,000 ms. */
  readonly maxDelayMs: number;
}

export interface LoadShedder {
  readonly gate: LoadGate;
  start(): void;
  stop(): void;
}

const READING_MS = 100;

/** While it lasts it is told again this often, so that other repairs hear of it. */
const TELL_AGAIN_MS = 10 * SECOND_MS;

/** As long as it takes at least until a level is left. */
const RETRY_AFTER_MS = 2 * SECOND_MS;

interface Episode {
  readonly failureEventId: string;
  readonly startedAt: number;
  readonly dryRun: boolean;
  peakMs: number;
  refused: number;
  toldAt: number;
}

/**
 * @example
 * const shedder = createLoadShedder({ clock, ids, journal, instance, permitted: () => true }, { maxDelayMs: 200 });
 * shedder.start();
 */
export function createLoadShedder(deps: LoadShedderDeps, { maxDelayMs }: LoadShedderOptions): LoadShedder {
  const { clock, ids, journal, instance, permitted } = deps;
  const service = `process:${instance}`;
  let state: LoadState = CALM;
  let episode: Episode | undefined;
  let timer: Timer | undefined;
  const gate = {
    level: 0 as LoadGate["level"],
    retryAfterMs: RETRY_AFTER_MS,
    refuses(criticality: Criticality): boolean {
      const refused = gate.level === 2 ? criticality !== "critical" : gate.level === 1 && criticality === "optional";
      if (refused && episode) episode.refused += 1;
      return refused;
    },
  };

  const observe = (eventId: string, delayMs: number) => {
    const failure: Failure = {
      eventId,
      timestamp: clock.now(),
      failureCategory: "resource",
      failureType: "event_loop_blocked",
      severity: "high",
      affectedService: service,
      errorMessage: `the event loop of ${instance} is late by more than ${maxDelayMs} ms`,
      context: { delayMs: Math.round(delayMs), maxDelayMs },
      detectionMethod: "threshold",
    };
    journal.append({ type: "failure.observed", failure, rescued: false });
  };

  const end = (status: "succeeded" | "cancelled") => {
    if (!episode) return;
    const { failureEventId, startedAt, dryRun, peakMs, refused } = episode;
    episode = undefined;
    journal.append({
      type: "rescue.ended",
      rescue: {
        failureEventId,
        timestamp: clock.now(),
        actionType: "shed",
        actionStrategy: "load_shedding",
        status,
        target: service,
        durationMs: clock.monotonic() - startedAt,
        message: dryRun
          ? "calls would have been refused until the event loop was on time again"
          : `${refused} calls were refused until the event loop was on time again`,
        metadata: { refused, peakDelayMs: Math.round(peakMs), maxDelayMs },
        dryRun,
        scope: "service",
      },
    });
  };

  const read = (delayMs: number) => {
    state = nextLoad(state, delayMs, { maxDelayMs });
    // The mode changed under it: what was done ends here, and what would be done is told anew, or the other way round.
    if (episode?.dryRun === permitted()) end("cancelled");
    if (state.level > 0 && !episode) {
      const now = clock.monotonic();
      episode = { failureEventId: ids(), startedAt: now, dryRun: !permitted(), peakMs: 0, refused: 0, toldAt: now };
      observe(episode.failureEventId, delayMs);
    }
    if (episode) {
      episode.peakMs = Math.max(episode.peakMs, delayMs);
      if (state.level > 0 && clock.monotonic() - episode.toldAt >= TELL_AGAIN_MS) {
        episode.toldAt = clock.monotonic();
        observe(ids(), delayMs);
      }
    }
    gate.level = episode?.dryRun === false ? state.level : 0;
    if (state.level === 0) end("succeeded");
  };

  const schedule = () => {
    const due = clock.monotonic() + READING_MS;
    timer = clock.setTimer(() => {
      read(Math.max(0, clock.monotonic() - due));
      schedule();
    }, READING_MS);
  };

  return Object.freeze<LoadShedder>({
    gate,
    start() {
      if (timer === undefined) schedule();
    },
    stop() {
      timer?.cancel();
      timer = undefined;
      state = CALM;
      gate.level = 0;
      end("cancelled");
    },
  });
}
