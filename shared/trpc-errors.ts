/** Names the class of a `TRPCError` by its code key; a mere internal error says nothing, its cause may. */
import type { ErrorClass } from "./error-classes.js";
import type { ErrorFacts } from "./error-facts.js";
import { outcomeOfCode } from "./outcome.js";

export function trpcClassOf(facts: ErrorFacts): ErrorClass | undefined {
  if (facts.code === undefined || !facts.names.includes("TRPCError")) return undefined;
  switch (facts.read("reason")) {
    // A connection that another call's transaction holds is busy, as if another process held the lock.
    case "transaction_open":
      return "database_busy";
    case "outcome_unknown":
      return "database_outcome_unknown";
    case "no_connection":
      return "database_saturated";
  }
  switch (outcomeOfCode(facts.code)) {
    case "client_error":
      return "caller_error";
    case "aborted":
      return "aborted";
    case "timeout":
      return "timeout";
    case "server_error":
      break;
  }
  switch (facts.code) {
    case "SERVICE_UNAVAILABLE":
      return "overloaded";
    case "BAD_GATEWAY":
      return "server_error";
    default:
      return undefined;
  }
}
