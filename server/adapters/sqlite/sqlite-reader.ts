/** A connection that only reads, and that in WAL mode no writer makes wait: the main thread's, and that of the reader's thread. */
import { type AlertQueries, createAlertQueries } from "./alert-statements.js";
import { type CircuitQueries, createCircuitQueries } from "./circuit-queries.js";
import { assertSameFile, identityOf } from "./database-file.js";
import { createFailureQueries, type FailureQueries } from "./failure-queries.js";
import { createIncidentQueries, type IncidentQueries } from "./incident-statements.js";
import { createLastGoodQueries, type LastGoodQueries } from "./last-good-statements.js";
import { createMaintenanceQueries, type MaintenanceQueries } from "./maintenance-statements.js";
import { createRangeQueries, type RangeQueries } from "./range-queries.js";
import { createReportQueries, type ReportQueries } from "./report-queries.js";
import { createRollupQueries, type RollupQueries } from "./rollup-queries.js";
import { createSettingQueries, type SettingQueries } from "./setting-queries.js";
import { drizzleOf, openForReading } from "./sqlite-connection.js";

export interface SqliteReader {
  readonly queries: RollupQueries &
    RangeQueries &
    FailureQueries &
    CircuitQueries &
    SettingQueries &
    ReportQueries &
    LastGoodQueries &
    IncidentQueries &
    AlertQueries &
    MaintenanceQueries;
  /** @throws ParamedicError STORE_UNAVAILABLE when the file is gone or another one is in its place. */
  assertSameFile(): void;
  close(): void;
}

/** @param path a database that has been migrated and that a writer has open */
export function createSqliteReader(path: string, options: { readonly busyTimeoutMs: number }): SqliteReader {
  const opened = identityOf(path);
  const raw = openForReading(path, options.busyTimeoutMs);
  try {
    const db = drizzleOf(raw);
    return {
      queries: {
        ...createRollupQueries(db),
        ...createRangeQueries(db),
        ...createFailureQueries(db),
        ...createCircuitQueries(db),
        ...createSettingQueries(db),
        ...createReportQueries(db),
        ...createLastGoodQueries(db),
        ...createIncidentQueries(db),
        ...createAlertQueries(db),
        ...createMaintenanceQueries(db),
      },
      assertSameFile: () => assertSameFile(path, opened),
      close: () => raw.close(),
    };
  } catch (error) {
    raw.close();
    throw error;
  }
}
