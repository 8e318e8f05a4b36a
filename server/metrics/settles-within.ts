/** A wait that ends: whoever asked gets an answer in time, even from a stream that never gives one. */
import { ParamedicError } from "../../shared/errors.js";
import type { Clock } from "../ports/clock.js";

/** Rejects with `STREAM_UNAVAILABLE` when `work` has not settled after `timeoutMs`; its late result is ignored. */
export function settlesWithin<T>(clock: Clock, timeoutMs: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(
      () => reject(new ParamedicError("STREAM_UNAVAILABLE", `the metric stream gave no answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
