/** `health` for the host app's router: everybody gets the shape, only those who may read get messages and metadata. */

import type { Role } from "../../shared/access.js";
import type { HealthReport } from "../../shared/health.js";
import { anonymousProcedure } from "./procedures.js";

export interface HealthProcedureDeps {
  readonly health: () => HealthReport;
  readonly access: (ctx: object) => Promise<{ readonly role: Role | undefined }>;
}

/** @example t.router({ health: paramedic.healthProcedure }) */
export function createHealthProcedure({ health, access }: HealthProcedureDeps) {
  return anonymousProcedure.query(async ({ ctx }): Promise<HealthReport> => {
    const { role } = await access(ctx);
    return role === undefined ? withoutDetails(health()) : health();
  });
}

/** The same shape without what could tell a stranger about the inside. */
export function withoutDetails(report: HealthReport): HealthReport {
  return {
    ...report,
    checks: report.checks.map((check) => ({ ...check, message: undefined, metadata: undefined })),
    degradation: report.degradation && { level: report.degradation.level, parts: [] },
  };
}
