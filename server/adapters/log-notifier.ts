/** Tells what needs a look where everything else is told: in the log. */
import type { Logger } from "../ports/logger.js";
import type { Notifier } from "../ports/notifier.js";

/** @example createLogNotifier({ logger }).notify({ rule: "no_activity", status: "firing", … }) */
export function createLogNotifier({ logger }: { readonly logger: Logger }): Notifier {
  return Object.freeze<Notifier>({
    notify({ summary, detail, ...fields }) {
      logger[fields.status === "firing" ? "error" : "info"]({ ...detail, event: "alert", ...fields }, summary);
    },
  });
}
