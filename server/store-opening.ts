/** Opens the store, and keeps trying while it cannot be opened: an unavailable dependency stops nothing. */
import { describeError } from "../shared/describe-error.js";
import { isParamedicError, type ParamedicErrorCode } from "../shared/errors.js";
import { SECOND_MS } from "../shared/units.js";
import type { Clock, Timer } from "./ports/clock.js";
import type { Logger } from "./ports/logger.js";
import type { Store } from "./ports/store.js";

/** What `paramedic.ready` resolves with. */
export type Readiness =
  | { readonly store: "open" }
  | { readonly store: "unavailable"; readonly code: ParamedicErrorCode; readonly message: string };

export interface StoreOpening {
  /** After the first attempt, whatever came of it. Never rejects. */
  readonly first: Promise<Readiness>;
  readonly isOpen: () => boolean;
  /** Whether the first attempt has ended. */
  readonly attempted: () => boolean;
  /** No further attempt begins; resolves when the present one has ended. */
  stop(): Promise<void>;
}

/** The wait doubles from the first to the second: a store that is away for a minute is found again within half of one. */
const FIRST_WAIT_MS = SECOND_MS;
const LONGEST_WAIT_MS = 30 * SECOND_MS;

/**
 * @param onOpen called once, when the store has been opened
 */
export function openStore({
  clock,
  store,
  logger,
  onOpen,
}: {
  readonly clock: Clock;
  readonly store: Pick<Store, "open">;
  readonly logger: Logger;
  readonly onOpen: () => void;
}): StoreOpening {
  let open = false;
  let attempted = false;
  let stopped = false;
  let timer: Timer | undefined;
  let attempt: Promise<Readiness>;

  const tryOnce = async (waitMs: number): Promise<Readiness> => {
    try {
      await store.open();
      open = true;
      if (!stopped) onOpen();
      return { store: "open" };
    } catch (error) {
      const code = isParamedicError(error) ? error.code : "STORE_UNAVAILABLE";
      const message = describeError(error).message;
      logger.error({ event: "store", subject: code, code }, `${message} (working without the store, trying again)`);
      if (!stopped) {
        timer = clock.setTimer(() => {
          attempt = tryOnce(Math.min(waitMs * 2, LONGEST_WAIT_MS));
        }, waitMs);
      }
      return { store: "unavailable", code, message };
    } finally {
      attempted = true;
    }
  };

  attempt = tryOnce(FIRST_WAIT_MS);
  return Object.freeze({
    first: attempt,
    isOpen: () => open,
    attempted: () => attempted,
    async stop() {
      stopped = true;
      timer?.cancel();
      await attempt;
    },
  });
}
