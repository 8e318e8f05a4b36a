/**
 * Keeps a database that takes no writes readable: finds out by probes that it is so, refuses writes with one clear error in
 * place of sending them, and goes back as soon as a write works. What came of each suspicion is written down.
 */
import type { Failure } from "../../../shared/failure.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { Clock, Timer } from "../../ports/clock.js";
import type { Journal, RescueRecord } from "../../ports/journal.js";
import { DatabaseError } from "./database-error.js";
import { nextWriteState, type ReadOnlyReason, WRITABLE, type WriteEvent, type WriteFinding } from "./write-state.js";

export interface WriteModeDeps {
  readonly clock: Clock;
  readonly journal: Journal;
  /** Tries whether reads and writes work, where the driver can on a connection made now. */
  readonly probe: (reason: ReadOnlyReason) => Promise<WriteFinding>;
}

export interface WriteMode {
  /** Why writes are refused now; undefined while they are not. */
  readonly readOnly: ReadOnlyReason | undefined;
  /** The error for a write; undefined when it may be sent. @param now monotonic milliseconds */
  refusal(now: number): DatabaseError | undefined;
  /** The database refused a write. */
  refused(reason: ReadOnlyReason, failure: Failure | undefined): void;
  succeeded(): void;
  /** Resolves when no refused write is looked into any more. */
  checked(): Promise<void>;
  /** No probe begins any more. */
  stop(): void;
}

/** The names under which it stands in `recovery_actions`. */
export const WRITE_MODE_STRATEGIES = {
  entered: "read_only_mode",
  left: "writes_resumed",
  reconnected: "fresh_connections",
} as const;

const PROBE = { firstMs: SECOND_MS, maxMs: 15 * SECOND_MS } as const;

/** In words, for errors and for health. */
export const WHY_READ_ONLY = {
  read_only: "it is read-only",
  disk_full: "its disk is full",
} as const satisfies Record<ReadOnlyReason, string>;

type Told = Pick<RescueRecord, "actionType" | "actionStrategy" | "status" | "message">;

export function createWriteMode(service: string, { clock, journal, probe }: WriteModeDeps): WriteMode {
  let state = WRITABLE;
  let suspicion: { readonly failure: Failure | undefined; readonly at: number } | undefined;
  let timer: Timer | undefined;
  let isProbing = false;
  let isStopped = false;
  let pauseMs: number = PROBE.firstMs;
  let probedAt = Number.NEGATIVE_INFINITY;
  let trialAt = 0;
  const waiting: (() => void)[] = [];

  const endWaiting = (): void => {
    for (const end of waiting.splice(0)) end();
  };

  const apply = (event: WriteEvent): void => {
    const before = state;
    const now = clock.monotonic();
    state = nextWriteState(before, event, now);
    if (before.mode !== state.mode) {
      pauseMs = PROBE.firstMs;
      trialAt = now + PROBE.firstMs;
      if (before.mode === "read_only") {
        const seconds = Math.round((now - before.since) / SECOND_MS);
        const message = `writes work again after ${seconds} s`;
        tell({ actionType: "reset", actionStrategy: WRITE_MODE_STRATEGIES.left, status: "succeeded", message });
      }
    }
    if (state.mode !== "checking") endWaiting();
    if (state.mode === "writable") timer?.cancel();
    else schedule();
  };

  const schedule = (): void => {
    if (isStopped || isProbing) return;
    timer?.cancel();
    timer = clock.setTimer(() => void run(), probedAt + pauseMs - clock.monotonic());
  };

  const run = async (): Promise<void> => {
    const { mode } = state;
    if (mode === "writable" || isProbing) return;
    isProbing = true;
    const finding = await probe(state.reason).catch((): WriteFinding => "unreachable");
    isProbing = false;
    probedAt = clock.monotonic();
    pauseMs = Math.min(pauseMs * 2, PROBE.maxMs);
    apply({ type: "probed", finding });
    if (mode === "checking") tell(verdictOf(finding));
  };

  const verdictOf = (finding: WriteFinding): Told => {
    const degrade = { actionType: "degrade", actionStrategy: WRITE_MODE_STRATEGIES.entered } as const;
    if (state.mode === "read_only") {
      const message = `writes are refused because ${WHY_READ_ONLY[state.reason]}; reads go on`;
      return { ...degrade, status: "succeeded", message };
    }
    switch (finding) {
      case "writable":
        return {
          actionType: "reconnect",
          actionStrategy: WRITE_MODE_STRATEGIES.reconnected,
          status: "succeeded",
          message: "a write works on a connection made now",
        };
      case "read_only":
      case "untold":
        return { ...degrade, status: "skipped", message: "reads answer, and other writes may still work" };
      case "unreachable":
        return { ...degrade, status: "failed", message: "reads do not answer either" };
    }
  };

  const tell = (told: Told): void => {
    if (suspicion?.failure === undefined) return;
    journal.append({
      type: "rescue.ended",
      rescue: {
        ...told,
        failureEventId: suspicion.failure.eventId,
        timestamp: clock.now(),
        target: service,
        durationMs: clock.monotonic() - suspicion.at,
        metadata: undefined,
        dryRun: false,
        scope: "service",
      },
    });
  };

  return {
    get readOnly() {
      return state.mode === "read_only" ? state.reason : undefined;
    },
    refusal(now) {
      if (state.mode !== "read_only") return undefined;
      if (state.needsTrial && now >= trialAt) {
        trialAt = now + PROBE.firstMs;
        return undefined;
      }
      const why = WHY_READ_ONLY[state.reason];
      const message = `${service} takes no writes now, because ${why}; reads go on, and writes as soon as one works again`;
      return new DatabaseError("read_only", service, message, { retryAfterMs: PROBE.firstMs });
    },
    refused(reason, failure) {
      if (state.mode === "writable") suspicion = { failure, at: clock.monotonic() };
      apply({ type: "write.refused", reason });
    },
    succeeded() {
      if (state !== WRITABLE) apply({ type: "write.succeeded" });
    },
    async checked() {
      if (state.mode === "checking" && !isStopped) await new Promise<void>((resolve) => waiting.push(resolve));
    },
    stop() {
      isStopped = true;
      timer?.cancel();
      endWaiting();
    },
  };
}
