/** What a stored failure says about whether its service needs a repair. Pure. */
import type { Failure } from "../../shared/failure.js";
import type { LandedFailure } from "./landing.js";

/** Services, procedures and repairs of our own begin with one of these. */
const OWN_PREFIXES = ["paramedic.", "trpc.paramedic."] as const;

/** No recovery of recovery: what fails in Paramedic itself, or under one of its repairs, leads to no repair. */
export function isOwnFailure({ affectedService, context }: Failure): boolean {
  const path = typeof context?.path === "string" ? context.path : "";
  return OWN_PREFIXES.some((prefix) => affectedService.startsWith(prefix) || path.startsWith(prefix));
}

/**
 * The service itself answered in the end: the callers were rescued by asking it again. Callers who were rescued elsewhere
 * prove nothing about it; it may be broken still.
 */
export function serviceAnswersAgain({ rescued, rescues, occurrences }: LandedFailure): boolean {
  const succeeded = rescues.filter(({ rescue }) => rescue.status === "succeeded");
  const again = succeeded.filter(({ rescue }) => rescue.actionType === "retry");
  if (again.length < succeeded.length) return false;
  if (rescued) return again.length > 0 || rescues.length === 0;
  return again.length > 0 && again.reduce((sum, entry) => sum + entry.occurrences, 0) >= occurrences;
}

/** A guard that asked a target writes itself down what it did, also that it could do nothing. */
export function isToldByItsGuard({ failure, rescues }: LandedFailure): boolean {
  return rescues.length > 0 || typeof failure.context?.target === "string";
}
