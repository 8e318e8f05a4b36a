/** The API as one router that nests in the host app's: `paramedic: paramedic.router`. */
import type { Coverage } from "../../shared/coverage.js";
import type { HealthReport } from "../../shared/health.js";
import type { Mode } from "../../shared/mode.js";
import type { Accounting } from "../../shared/series.js";
import type { MaintenanceControl } from "../ports/maintenance.js";
import type { OperatorControl } from "../ports/operator-control.js";
import type { SettingsControl } from "../ports/settings.js";
import type { Store } from "../ports/store.js";
import type { WatchdogControl } from "../ports/watchdog.js";
import { type CircuitControl, type CircuitView, createCircuitsRouter } from "./circuits-router.js";
import { createCoverageProcedure } from "./coverage-procedure.js";
import { createFailuresRouter } from "./failures-router.js";
import { createIncidentsRouter } from "./incidents-router.js";
import { page } from "./inputs.js";
import { createMaintenanceRouter } from "./maintenance-router.js";
import { createMetricsRouter } from "./metrics-router.js";
import { type AccessDeps, createProcedures, router } from "./procedures.js";
import { createRecoveriesRouter } from "./recoveries-router.js";
import { createSettingsRouter } from "./settings-router.js";
import { createWatchdogRouter } from "./watchdog-router.js";

/** What an instance works by. */
export interface InstanceStatus {
  readonly instance: string;
  readonly mode: Mode;
  /** The store was opened once; whether it is away since is in the ages below and in health's degradation. */
  readonly storeOpen: boolean;
  /** How long ago the settings, and the circuits of the other instances, were read; undefined while they never were. */
  readonly settingsAgeMs: number | undefined;
  readonly circuitsAgeMs: number | undefined;
}

export interface ApiDeps extends AccessDeps {
  readonly store: Store;
  readonly circuits: () => readonly CircuitView[];
  readonly control: CircuitControl;
  readonly recovery: OperatorControl;
  readonly maintenance: MaintenanceControl;
  readonly settings: SettingsControl;
  readonly watchdog: WatchdogControl;
  readonly accounting: () => Promise<Accounting>;
  readonly health: () => HealthReport;
  readonly coverage: () => Coverage;
  readonly status: () => InstanceStatus;
}

/**
 * @example
 * const appRouter = t.router({ paramedic: paramedic.router });
 * await client.paramedic.failures.list.query({ resolved: false });
 */
export function createRouter(deps: ApiDeps) {
  const procedures = createProcedures(deps);
  const { read } = procedures;
  return router({
    /** From memory: it answers while the store is away, and says how old what it knows is. */
    status: read.query(() => deps.status()),
    health: read.query(() => deps.health()),
    coverage: createCoverageProcedure(procedures, deps),
    failures: createFailuresRouter(procedures, deps),
    recoveries: createRecoveriesRouter(procedures, deps),
    incidents: createIncidentsRouter(procedures, deps),
    circuits: createCircuitsRouter(procedures, deps),
    maintenance: createMaintenanceRouter(procedures, deps),
    metrics: createMetricsRouter(procedures, deps),
    settings: createSettingsRouter(procedures, deps),
    watchdog: createWatchdogRouter(procedures, deps),
    audit: router({
      /** Newest first. */
      list: read.input(page.strict().prefault({})).query(({ input }) => deps.store.listAudit(input)),
    }),
  });
}

export type ParamedicRouter = ReturnType<typeof createRouter>;
