/** Announced work on services: what fails meanwhile is expected, and repairs rest. Pure. */
import { matchesName } from "./mode.js";

export interface MaintenanceWindow {
  readonly windowId: string;
  /** Names, or prefixes ending in `*`. */
  readonly services: readonly string[];
  readonly createdBy: string;
  readonly reason: string;
  /** UTC milliseconds. */
  readonly startsAt: number;
  readonly endsAt: number;
}

/** @example isInMaintenance([{ services: ["db:*"], startsAt: 0, endsAt: 60_000, … }], "db:main", 30_000) // true */
export function isInMaintenance(
  windows: readonly Pick<MaintenanceWindow, "services" | "startsAt" | "endsAt">[],
  service: string,
  now: number,
): boolean {
  return windows.some(
    ({ services, startsAt, endsAt }) =>
      startsAt <= now && now < endsAt && services.some((pattern) => matchesName(pattern, service)),
  );
}
