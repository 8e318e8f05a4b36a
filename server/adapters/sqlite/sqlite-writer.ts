/** The one connection of a process that writes: each command is one transaction, done whole or not at all. */
import { operatorAudit } from "../../../drizzle/self-healing-schema.js";
import type { AuditEntry, EntryOutcome } from "../../ports/store.js";
import { commitEntrySync } from "../commit-entry.js";
import { type AlertStatements, createAlertStatements } from "./alert-statements.js";
import { type CircuitStatements, createCircuitStatements } from "./circuit-statements.js";
import { type CompactionStatements, createCompactionStatements } from "./compaction-statements.js";
import { assertSameFile, identityOf } from "./database-file.js";
import { createDiskReserve } from "./disk-reserve.js";
import { createFailureStatements, type FailureStatements } from "./failure-statements.js";
import { createLastGoodStatements, type LastGoodStatements } from "./last-good-statements.js";
import { createMaintenanceStatements, type MaintenanceStatements } from "./maintenance-statements.js";
import { prepareInsert } from "./prepared-row.js";
import { createPruneStatements, type PruneStatements } from "./prune-statements.js";
import { createRecoveryStatements, type RecoveryStatements } from "./recovery-statements.js";
import { createRollupStatements, type RollupStatements } from "./rollup-statements.js";
import { createSettingStatements, type SettingStatements } from "./setting-statements.js";
import { drizzleOf, openForWriting } from "./sqlite-connection.js";
import { isFull, storeErrorOf } from "./sqlite-errors.js";
import { createTaskStatements, type TaskStatements } from "./task-statements.js";

/** What can be asked of a writer. Arguments and results pass between threads. */
export type WriteCommands = Pick<RollupStatements, "commitBatch" | "saveDeadBatch" | "settleBatches"> &
  Pick<FailureStatements, "recordFailures" | "resolveFailure" | "resolveQuietFailures"> &
  RecoveryStatements &
  CircuitStatements &
  CompactionStatements &
  PruneStatements &
  SettingStatements &
  TaskStatements &
  AlertStatements &
  MaintenanceStatements &
  LastGoodStatements & {
    commitEntry(fields: Readonly<Record<string, string>>, now: number): EntryOutcome;
    recordAudit(entry: AuditEntry): void;
    /** Writes the file's header as it is: whoever gets an answer can write, which a lock alone does not say of a full disk. */
    ping(): void;
  };

export interface SqliteWriter {
  readonly commands: WriteCommands;
  close(): void;
}

/**
 * @param path a database that has been migrated
 * @throws ParamedicError STORE_UNAVAILABLE, STORE_CORRUPT; the commands throw these and STORE_REQUEST_INVALID
 */
export function createSqliteWriter(path: string, options: { readonly busyTimeoutMs: number }): SqliteWriter {
  const opened = identityOf(path);
  const raw = translated(path, () => openForWriting(path, options.busyTimeoutMs));
  return translated(path, () => {
    try {
      const db = drizzleOf(raw);
      const rollups = createRollupStatements(db);
      const failures = createFailureStatements(db);
      const recoveries = createRecoveryStatements(db, failures);
      const circuits = createCircuitStatements(db, failures);
      const compaction = createCompactionStatements(db);
      const retention = createPruneStatements(db, rollups);
      const settings = createSettingStatements(db);
      const tasks = createTaskStatements(db);
      const alerts = createAlertStatements(db);
      const maintenance = createMaintenanceStatements(db);
      const lastGood = createLastGoodStatements(db);
      const insertAudit = prepareInsert(db, operatorAudit);

      const reserve = createDiskReserve(path);

      const atomically = <Args extends unknown[], Result>(command: (...args: Args) => Result) => {
        const transaction = raw.transaction(command).immediate;
        return (...args: Args): Result =>
          translated(path, () => {
            assertSameFile(path, opened);
            try {
              const result = transaction(...args);
              rollups.committed();
              return result;
            } catch (error) {
              rollups.rolledBack();
              throw error;
            }
          });
      };

      /** What makes room finds some at its next attempt, where there was none. */
      const onFullDisk = <Args extends unknown[]>(command: (...args: Args) => number) => {
        const run = atomically(command);
        return (...args: Args): number => {
          try {
            const rows = run(...args);
            if (rows === 0) reserve.keep();
            return rows;
          } catch (error) {
            if (isFull(error)) reserve.release();
            throw error;
          }
        };
      };

      const commitBatch = atomically(rollups.commitBatch);
      return {
        commands: {
          commitBatch,
          commitEntry: (fields, now) => commitEntrySync(fields, (batch) => commitBatch(batch, now)),
          saveDeadBatch: atomically(rollups.saveDeadBatch),
          settleBatches: atomically(rollups.settleBatches),
          compactRollups: atomically(compaction.compactRollups),
          pruneRollups: onFullDisk(compaction.pruneRollups),
          pruneRecords: onFullDisk(retention.pruneRecords),
          recordFailures: atomically(failures.recordFailures),
          resolveFailure: atomically(failures.resolveFailure),
          resolveQuietFailures: atomically(failures.resolveQuietFailures),
          recordRescues: atomically(recoveries.recordRescues),
          leaseRepair: atomically(recoveries.leaseRepair),
          approveRepair: atomically(recoveries.approveRepair),
          declineRepair: atomically(recoveries.declineRepair),
          completeRepair: atomically(recoveries.completeRepair),
          abandonExpired: atomically(recoveries.abandonExpired),
          commitTransition: atomically(circuits.commitTransition),
          refreshCircuits: atomically(circuits.refreshCircuits),
          holdCircuit: atomically(circuits.holdCircuit),
          releaseExpiredHolds: atomically(circuits.releaseExpiredHolds),
          leaseProbes: atomically(circuits.leaseProbes),
          recordOpinions: atomically(circuits.recordOpinions),
          changeSetting: atomically(settings.changeSetting),
          beginTask: atomically(tasks.beginTask),
          beatTask: atomically(tasks.beatTask),
          endTask: atomically(tasks.endTask),
          endStuckTasks: atomically(tasks.endStuckTasks),
          raiseAlert: atomically(alerts.raiseAlert),
          resolveAlert: atomically(alerts.resolveAlert),
          announceMaintenance: atomically(maintenance.announceMaintenance),
          endMaintenance: atomically(maintenance.endMaintenance),
          putLastGood: atomically(lastGood.putLastGood),
          recordAudit: atomically((entry: AuditEntry) => insertAudit({ id: undefined, ...entry })),
          ping: atomically(() => void raw.pragma(`user_version = ${raw.pragma("user_version", { simple: true })}`)),
        },
        close: () => raw.close(),
      };
    } catch (error) {
      raw.close();
      throw error;
    }
  });
}

function translated<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw storeErrorOf(error, path);
  }
}
