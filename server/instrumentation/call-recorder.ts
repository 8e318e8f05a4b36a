/** Writes down how calls failed and streams ended: always as metrics, and as a failure event where the service failed. */
import { describeError, trpcCodeOf } from "../../shared/describe-error.js";
import type { Failure } from "../../shared/failure.js";
import type { ProcedureType } from "../../shared/outcome.js";
import type { CallContext } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { Journal } from "../ports/journal.js";
import type { LoadGate } from "../ports/load-gate.js";
import type { MetricSink } from "../ports/metric-sink.js";
import { ABORTED, type FailedOutcome, outcomeOfFailure, procedureFailureType } from "./call-outcome.js";
import type { StreamEnd } from "./observe-stream.js";
import type { SeriesOfOperation } from "./operation-series.js";
import { type Identify, identityOf } from "./procedure-call.js";
import { createSeenErrors, type SeenErrors } from "./seen-errors.js";
import { createStreamSeries } from "./stream-series.js";
import { createUnreadStreams, type UnreadStreams } from "./unread-streams.js";

export interface CallRecorderDeps {
  readonly sink: MetricSink;
  /** How calls end. */
  readonly seriesOf: SeriesOfOperation;
  readonly journal: Journal;
  readonly callContext: CallContext;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Names the user and the request of a call from the app's context. */
  readonly identify?: Identify | undefined;
  /** Refuses calls while the process is overloaded. @default none */
  readonly loadGate?: LoadGate | undefined;
  /** Told of every fault of our own. Must not throw. */
  readonly onFault: (error: unknown) => void;
}

/** What is known of a call that ended. */
export interface EndedCall {
  readonly path: string;
  readonly type: ProcedureType | "unknown";
  readonly ctx: unknown;
  readonly signal?: AbortSignal | undefined;
  /** Event ids of the failures that guards saw during the call. */
  readonly causes?: readonly string[] | undefined;
}

export interface CallRecorder {
  /** A call that a middleware saw from its begin to its end. */
  failed(call: EndedCall, error: unknown, durationMs: number): void;
  /** A stream gave an event. @param waitedMs from the call's begin, for its first one only */
  streamed(path: string, waitedMs: number | undefined): void;
  /** How a stream ended is how its call ended. */
  streamEnded(call: EndedCall, end: StreamEnd, lifetimeMs: number): void;
  /** An error that came after its call's end was counted: the adapter may report it, which is no further call. */
  failedLate(call: EndedCall, error: unknown): void;
  /** A call that only the adapter saw: it is counted, and its duration is not known. */
  reported(call: EndedCall, error: unknown): void;
  /** The errors of `failed`. */
  readonly seen: Pick<SeenErrors, "has">;
  /** Streams that calls have given. */
  readonly unread: Pick<UnreadStreams, "watch">;
}

/** A call's causes point at what its guards saw; more of them tell nothing more. */
const MOST_CAUSES = 20;

/** No method throws: a fault of ours is reported and the call goes on. */
export function createCallRecorder(deps: CallRecorderDeps): CallRecorder {
  const { sink, seriesOf, journal, callContext, clock, ids, identify, onFault } = deps;
  const streams = createStreamSeries(sink);
  const seen = createSeenErrors(clock);
  const unread = createUnreadStreams(clock);

  const journalFailure = (
    call: EndedCall,
    error: unknown,
    { status, errorType, errorCategory }: FailedOutcome,
  ): void => {
    if (status !== "server_error" && status !== "timeout") return;
    const { message, stack, code, trpcCode } = describeError(error);
    const { userId, requestId } = identityOf(call.ctx, identify);
    const failure: Failure = {
      eventId: ids(),
      timestamp: clock.now(),
      failureCategory: "internal_service",
      failureType: procedureFailureType(status),
      // One call of many: whether more is at stake is for the guards below it and the rules above it to say.
      severity: "medium",
      affectedService: `trpc.${call.path}`,
      errorMessage: message,
      errorStack: stack,
      context: {
        path: call.path,
        type: call.type,
        causes: call.causes?.slice(-MOST_CAUSES) ?? [],
        errorType,
        errorCategory,
        ...(trpcCode !== undefined && { trpcCode }),
        ...(code !== undefined && { errorCode: code }),
      },
      detectionMethod: "exception",
      userId,
      requestId,
    };
    journal.append({ type: "failure.observed", failure, rescued: false });
    // The call that made this call is still current here: its own failure, if it comes to one, names this as a cause.
    callContext.current()?.causes.push(failure.eventId);
  };

  const record = (call: EndedCall, error: unknown, durationMs: number | undefined): void => {
    try {
      const outcome = outcomeOfFailure(error, `trpc.${call.path}`, call.signal);
      seriesOf(call.path).failed(outcome, durationMs);
      journalFailure(call, error, outcome);
    } catch (fault) {
      onFault(fault);
    }
  };

  /** A fault of ours while we count. */
  const guarded = (count: () => void): void => {
    try {
      count();
    } catch (fault) {
      onFault(fault);
    }
  };
  const failedLate = (call: EndedCall, error: unknown): void => guarded(() => seen.add(error, call.path));
  const failed = (call: EndedCall, error: unknown, durationMs: number): void => {
    failedLate(call, error);
    record(call, error, durationMs);
  };

  return Object.freeze({
    seen,
    unread,
    failed,
    failedLate,
    streamed(path: string, waitedMs: number | undefined) {
      guarded(() => streams.event(path, waitedMs));
    },
    streamEnded(call: EndedCall, end: StreamEnd, lifetimeMs: number) {
      guarded(() => streams.ended(call.path, end, lifetimeMs));
      switch (end.type) {
        case "completed":
          guarded(() => seriesOf(call.path).succeeded(lifetimeMs));
          break;
        case "aborted":
          guarded(() => seriesOf(call.path).failed(ABORTED, lifetimeMs));
          break;
        case "failed":
          failed(call, end.error, lifetimeMs);
          break;
      }
    },
    reported(call: EndedCall, error: unknown) {
      // The call has given a stream, and this is what became of it.
      if (trpcCodeOf(error) === "UNSUPPORTED_MEDIA_TYPE") unread.refused(call.path);
      record(call, error, undefined);
    },
  });
}
