/** Ends a Paramedic in the order in which data flows: no new points, then what is held, then the store. */
import type { Batch } from "../shared/series.js";
import type { Clock } from "./ports/clock.js";

/** What is ended, each part by the one method that ends it. None of them may hang for ever: the deadline cuts them off. */
export interface ShutdownParts {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Stops opening the store, checking health, and admitting work of our own. */
  readonly stopSources: () => Promise<void>;
  /** Sends what the collector holds, as far as the stream takes it. */
  readonly stopCollector: () => Promise<void>;
  /** Moves what the stream holds into the store. */
  readonly drainStream: (deadlineMs: number) => Promise<void>;
  readonly stopAggregator: () => Promise<void>;
  /** Batches that the stream did not confirm. */
  readonly leftOver: () => readonly Batch[];
  /** Folds one without the stream: under the same id, so that it counts once even if it had arrived. */
  readonly fold: (batch: Batch) => Promise<unknown>;
  /** Writes the journal and the circuits. */
  readonly stopRecording: () => Promise<void>;
  readonly closeStream: () => Promise<void>;
  readonly closeStore: () => Promise<void>;
  readonly onFault: (error: unknown) => void;
}

/** A share of the deadline for the stream, so that a store that is slow to fold still gets its turn. */
const DRAIN_SHARE = 0.5;

/** Never rejects; resolves at the deadline at the latest, whatever still hangs. */
export async function shutDown(parts: ShutdownParts): Promise<void> {
  const { clock, timeoutMs, onFault } = parts;
  const step = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      onFault(error);
    }
  };
  const inOrder = async (): Promise<void> => {
    await step(parts.stopSources);
    await step(parts.stopCollector);
    await step(() => parts.drainStream(timeoutMs * DRAIN_SHARE));
    await step(parts.stopAggregator);
    await step(async () => {
      for (const batch of parts.leftOver()) await step(() => parts.fold(batch));
    });
    await step(parts.stopRecording);
    await step(parts.closeStream);
    await step(parts.closeStore);
  };
  await new Promise<void>((resolve) => {
    // Until it has ended it keeps the process alive: nothing else of ours does.
    const deadline = clock.setTimer(resolve, timeoutMs, true);
    void inOrder().then(() => {
      deadline.cancel();
      resolve();
    });
  });
}
