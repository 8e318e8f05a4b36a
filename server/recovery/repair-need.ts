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
 * The service itself answered in the end: every caller was rescued by asking it again. Callers who were rescued elsewhere
 * prove nothing about it; it may be broken still.
 */
export function serviceAnswersAgain({ rescued, rescues, occurrences }: LandedFailure): boolean {
  const succeeded = rescues.filter(({ rescue }) => rescue.status === "succeeded" && !rescue.dryRun);
  const again = succeeded.filter(({ rescue }) => rescue.actionType === "retry");
  if (again.reduce((sum, rescue) => sum + rescue.occurrences, 0) >= occurrences) return true;
  return rescued && succeeded.length === 0;
}

/** A guard that asked a target writes itself down what it did, also that it could do nothing. */
export function isToldByItsGuard({ failure, rescues }: LandedFailure): boolean {
  return rescues.length > 0 || typeof failure.context?.target === "string";
}
