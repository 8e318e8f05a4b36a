/** How stages tell that a guard refused a call before the service was asked, without knowing the guard. */

/** Set to `true` on errors by which a guard refuses work: circuit open, bulkhead full, budget spent. */
export const REJECTION = Symbol.for("paramedic.rejection");

export function isRejection(error: unknown): boolean {
  try {
    return typeof error === "object" && error !== null && REJECTION in error && error[REJECTION] === true;
  } catch {
    return false;
  }
}
