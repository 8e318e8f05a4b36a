/**
 * What one guarded call showed, kept until the caller's fate is known: then the journal is told in order, each entry with its
 * own time, and each failure with whether the caller was rescued from it. A kill loses the record of the calls in flight.
 */
import type { Failure } from "../../shared/failure.js";
import type { CallInfo } from "../ports/call-context.js";
import type { Journal, RescueRecord } from "../ports/journal.js";
import type { Sighting } from "./sighting.js";

export class CallRecord {
  #last: Sighting | undefined = undefined;
  readonly #entries: (Failure | RescueRecord)[] = [];

  /** The failure's id goes to the tRPC call at once, so that the procedure's own failure can name its causes. */
  see(sighting: Sighting, call: CallInfo | undefined): void {
    this.#last = sighting;
    if (sighting.failure === undefined) return;
    this.#entries.push(sighting.failure);
    call?.causes.push(sighting.failure.eventId);
  }

  /** What is no failure of the call, but what a rescue answers. */
  mention(failure: Failure): void {
    this.#entries.push(failure);
  }

  note(rescue: RescueRecord): void {
    this.#entries.push(rescue);
  }

  get last(): Sighting | undefined {
    return this.#last;
  }

  tell(journal: Journal, rescued: boolean): void {
    for (const entry of this.#entries.splice(0)) {
      journal.append(
        "eventId" in entry
          ? { type: "failure.observed", failure: entry, rescued }
          : { type: "rescue.ended", rescue: entry },
      );
    }
  }
}
