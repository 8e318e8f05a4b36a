/** The store in a PostgreSQL database, shared by every instance on every machine. */
import type pg from "pg";
import { operatorAudit } from "../../../drizzle/postgres/self-healing-schema.js";
import { ParamedicError } from "../../../shared/errors.js";
import type { Batch } from "../../../shared/series.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { Clock } from "../../ports/clock.js";
import { type Logger, silentLogger } from "../../ports/logger.js";
import type { Store } from "../../ports/store.js";
import { commitEntry } from "../commit-entry.js";
import { createAlertQueries, raiseAlert, resolveAlert } from "./alert-statements.js";
import { createCircuitQueries } from "./circuit-queries.js";
import {
  commitTransition,
  holdCircuit,
  leaseProbes,
  recordOpinions,
  refreshCircuits,
  releaseExpiredHolds,
} from "./circuit-statements.js";
import { compactRollups, pruneRollups } from "./compaction-statements.js";
import { createFailureQueries } from "./failure-queries.js";
import { recordFailures, resolveFailure, resolveQuietFailures } from "./failure-statements.js";
import { createIncidentQueries } from "./incident-statements.js";
import { createLastGoodQueries, putLastGood } from "./last-good-statements.js";
import { settleBatches } from "./ledger-statements.js";
import { onLiveSession } from "./live-session.js";
import { announceMaintenance, createMaintenanceQueries, endMaintenance } from "./maintenance-statements.js";
import { migratePostgres } from "./migrate.js";
import { createPool, type Db, databaseNameOf, drizzleOf } from "./postgres-connection.js";
import { storeErrorOf } from "./postgres-errors.js";
import { LANE_OF_KIND, pruneRecords } from "./prune-statements.js";
import { createRangeQueries } from "./range-queries.js";
import { createReadTurns } from "./read-turns.js";
import {
  abandonExpired,
  approveRepair,
  completeRepair,
  declineRepair,
  leaseRepair,
  recordRescues,
} from "./recovery-statements.js";
import { createReportQueries } from "./report-queries.js";
import { createRollupQueries } from "./rollup-queries.js";
import { commitBatch, createSeriesIds, saveDeadBatch } from "./rollup-statements.js";
import { createSettingQueries } from "./setting-queries.js";
import { changeSetting } from "./setting-statements.js";
import { beatTask, beginTask, endStuckTasks, endTask } from "./task-statements.js";
import { createSnapshot, createWriteTransactions, type Lane, type WriteTransactions } from "./write-transactions.js";

export interface PostgresStoreDeps {
  readonly clock: Clock;
  /** @default silent */
  readonly logger?: Logger | undefined;
  /** Told of faults that no call is told of, such as an idle connection that broke. @default logged */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

export interface PostgresStoreOptions {
  /** `postgres://user:password@host:port/database`, with the driver's parameters, such as `?sslmode=require`. */
  readonly url: string;
  /** Connections of this process at most; four are never idle for long. 4 to 100. @default 6 */
  readonly maxConnections?: number | undefined;
  /** How long to wait for a connection. 1 to 60,000 ms. @default 5_000 */
  readonly connectTimeoutMs?: number | undefined;
  /** How long a write waits for a lock that another session holds. 1 to 60,000 ms. @default 5_000 */
  readonly lockTimeoutMs?: number | undefined;
  /** How long a statement may run, and a transaction stand idle; above lockTimeoutMs. @default lockTimeoutMs + 5_000 */
  readonly statementTimeoutMs?: number | undefined;
  /** How long a range of many series may take to read, statement after statement. 1 to 600,000 ms. @default 15_000 */
  readonly rangeTimeoutMs?: number | undefined;
  /** How long migrating may wait for other processes that migrate. @default 30_000 */
  readonly migrationTimeoutMs?: number | undefined;
}

const DEFAULTS = {
  maxConnections: 6,
  connectTimeoutMs: 5 * SECOND_MS,
  lockTimeoutMs: 5 * SECOND_MS,
  statementSlackMs: 5 * SECOND_MS,
  rangeTimeoutMs: 15 * SECOND_MS,
  migrationTimeoutMs: 30 * SECOND_MS,
  /** A minute of writes at the usual pace; more waiting would only grow memory while the database hangs. */
  maxWaiting: 1_000,
  /** Several pages of charts. */
  maxRangesWaiting: 100,
} as const;

interface Connected {
  readonly pool: pg.Pool;
  readonly writes: WriteTransactions;
  readonly queries: ReturnType<typeof queriesOf>;
}

/** Connections that reads of ranges leave to writes: one for each lane. */
const WRITING_CONNECTIONS = 3;

function queriesOf(
  { pool, clock }: { readonly pool: pg.Pool; readonly clock: Clock },
  { maxConnections, rangeTimeoutMs }: { readonly maxConnections: number; readonly rangeTimeoutMs: number },
) {
  const db = drizzleOf(pool);
  const turns = createReadTurns({
    atOnce: maxConnections - WRITING_CONNECTIONS,
    mostWaiting: DEFAULTS.maxRangesWaiting,
  });
  return {
    ...createRollupQueries(db),
    ...createRangeQueries({ clock, db, snapshot: createSnapshot(pool), turns }, { rangeTimeoutMs }),
    ...createFailureQueries(db),
    ...createCircuitQueries(db),
    ...createSettingQueries(db),
    ...createReportQueries(db),
    ...createLastGoodQueries(db),
    ...createIncidentQueries(db),
    ...createAlertQueries(db),
    ...createMaintenanceQueries(db),
  };
}

/**
 * @throws ParamedicError CONFIGURATION_INVALID for a value out of its range or a URL that cannot be read
 * @example
 * const store = createPostgresStore({ clock: systemClock }, { url: "postgres://app:secret@127.0.0.1:5432/app" });
 * await store.open();
 */
export function createPostgresStore(deps: PostgresStoreDeps, options: PostgresStoreOptions): Store {
  const { clock } = deps;
  const { url } = options;
  const database = databaseNameOf(url);
  const logger = deps.logger ?? silentLogger;
  const tell =
    deps.onFault ??
    ((error) =>
      logger.error({ event: "fault", subject: "store" }, error instanceof Error ? error.message : String(error)));
  const onFault = (error: unknown) => tell(storeErrorOf(error, database));
  const lockTimeoutMs = within("lockTimeoutMs", options.lockTimeoutMs ?? DEFAULTS.lockTimeoutMs, 1, 60_000);
  const limits = {
    maxConnections: within("maxConnections", options.maxConnections ?? DEFAULTS.maxConnections, 4, 100),
    connectTimeoutMs: within("connectTimeoutMs", options.connectTimeoutMs ?? DEFAULTS.connectTimeoutMs, 1, 60_000),
    lockTimeoutMs,
    statementTimeoutMs: within(
      "statementTimeoutMs",
      options.statementTimeoutMs ?? lockTimeoutMs + DEFAULTS.statementSlackMs,
      lockTimeoutMs + 1,
      600_000,
    ),
  };
  const rangeTimeoutMs = within("rangeTimeoutMs", options.rangeTimeoutMs ?? DEFAULTS.rangeTimeoutMs, 1, 600_000);
  const migrationTimeoutMs = options.migrationTimeoutMs ?? DEFAULTS.migrationTimeoutMs;

  const series = createSeriesIds();
  let connected: Connected | undefined;
  let opening: Promise<void> | undefined;
  let closing: Promise<void> | undefined;

  const openOnce = async () => {
    if (connected) return;
    await migratePostgres(url, { timeoutMs: migrationTimeoutMs, connectTimeoutMs: limits.connectTimeoutMs });
    const pool = createPool(url, limits, onFault);
    const turnTimeoutMs = limits.connectTimeoutMs + limits.statementTimeoutMs;
    connected = {
      pool,
      writes: createWriteTransactions({ pool, clock }, { maxWaiting: DEFAULTS.maxWaiting, turnTimeoutMs }),
      queries: queriesOf({ pool, clock }, { maxConnections: limits.maxConnections, rangeTimeoutMs }),
    };
  };

  /** Refuses what comes before `open` or after `close`. */
  const opened = (): Connected => {
    if (closing) throw new ParamedicError("CLOSED", `the store ${database} is closed`);
    if (connected) return connected;
    throw new ParamedicError("STORE_UNAVAILABLE", `the database ${database} is not open; open the store first`);
  };

  const translated = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw storeErrorOf(error, database);
    }
  };

  const read = <T>(query: (queries: Connected["queries"]) => Promise<T>): Promise<T> =>
    translated(() => onLiveSession(() => query(opened().queries)));

  const write = <T>(lane: Lane, work: (db: Db) => Promise<T>, rolledBack?: () => void): Promise<T> =>
    translated(() => opened().writes.run(lane, work, rolledBack));

  /** A series' id that is remembered holds only while its row does: after a failure all of them are asked for anew. */
  const writeBatch = async (batch: Batch): Promise<boolean> => {
    const isNew = await write("rollups", (db) => commitBatch(db, series, batch, clock.now()), series.forget);
    series.committed();
    return isNew;
  };

  return Object.freeze<Store>({
    async open() {
      if (closing) throw new ParamedicError("CLOSED", `the store ${database} is closed`);
      opening ??= openOnce().finally(() => {
        opening = undefined;
      });
      await opening;
    },

    async ping() {
      const startedAt = clock.monotonic();
      await write("audit", async () => undefined);
      return clock.monotonic() - startedAt;
    },

    async close() {
      closing ??= (async () => {
        await opening?.catch(() => undefined);
        await connected?.writes.settled();
        await connected?.pool.end();
      })();
      await closing;
    },

    commitBatch: writeBatch,
    commitEntry: (fields) => commitEntry(fields, writeBatch),
    saveDeadBatch: (dead) => write("rollups", (db) => saveDeadBatch(db, dead)),
    settleBatches: (slice) => write("rollups", (db) => settleBatches(db, slice)),
    compactRollups: (slice) => write("rollups", (db) => compactRollups(db, slice)),
    pruneRollups: (slice) => write("rollups", (db) => pruneRollups(db, slice)),
    pruneRecords: (slice) => write(LANE_OF_KIND[slice.kind], (db) => pruneRecords(db, slice)),
    listSeries: (filter) => read(({ listSeries }) => listSeries(filter)),
    readMetric: (metricName) => read(({ readMetric }) => readMetric(metricName)),
    readSeries: (query) => read(({ readSeries }) => readSeries(query)),
    readHeatMap: (query) => read(({ readHeatMap }) => readHeatMap(query)),
    readTopProcedures: (query) => read(({ readTopProcedures }) => readTopProcedures(query)),
    readStretches: (range) => read(({ readStretches }) => readStretches(range)),
    ledger: () => read(({ ledger }) => ledger()),
    listGaps: (query) => read(({ listGaps }) => listGaps(query)),

    recordFailures: (sightings) => write("story", (db) => recordFailures(db, sightings, clock.now())),
    listFailures: (query) => read(({ listFailures }) => listFailures(query)),
    getFailure: (eventId) => read(({ getFailure }) => getFailure(eventId)),
    resolveFailure: (eventId, resolvedAt) => write("story", (db) => resolveFailure(db, eventId, resolvedAt)),
    resolveQuietFailures: (quietSince, resolvedAt) =>
      write("story", (db) => resolveQuietFailures(db, quietSince, resolvedAt)),

    listIncidents: (query) => read(({ listIncidents }) => listIncidents(query)),
    getIncident: (incidentId) => read(({ getIncident }) => getIncident(incidentId)),

    recordRescues: (actions) => write("story", (db) => recordRescues(db, actions, clock.now())),
    leaseRepair: (action, terms = {}) => write("story", (db) => leaseRepair(db, action, terms, clock.now())),
    approveRepair: (approval, terms = {}) => write("story", (db) => approveRepair(db, approval, terms)),
    declineRepair: (decline) => write("story", (db) => declineRepair(db, decline)),
    completeRepair: (completion) => write("story", (db) => completeRepair(db, completion)),
    abandonExpired: (now) => write("story", (db) => abandonExpired(db, now)),
    getRecovery: (actionId) => read(({ getRecovery }) => getRecovery(actionId)),
    listRecoveries: (query) => read(({ listRecoveries }) => listRecoveries(query)),

    loadCircuits: (names) => read(({ loadCircuits }) => loadCircuits(names)),
    commitTransition: (...change) => write("story", (db) => commitTransition(db, ...change)),
    refreshCircuits: (snapshots, at) => write("story", (db) => refreshCircuits(db, snapshots, at)),
    holdCircuit: (circuitName, hold, at) => write("story", (db) => holdCircuit(db, circuitName, hold, at)),
    releaseExpiredHolds: () => write("story", releaseExpiredHolds),
    leaseProbes: (lease) => write("story", (db) => leaseProbes(db, lease)),
    recordOpinions: (report) => write("story", (db) => recordOpinions(db, report)),
    listTransitions: (query) => read(({ listTransitions }) => listTransitions(query)),

    putLastGood: (value, limits) => write("audit", (db) => putLastGood(db, value, limits)),
    getLastGood: (operation, key) => read(({ getLastGood }) => getLastGood(operation, key)),

    recordAudit: (entry) => write("audit", async (db) => void (await db.insert(operatorAudit).values({ ...entry }))),
    listAudit: (query) => read(({ listAudit }) => listAudit(query)),

    loadSettings: () => read(({ loadSettings }) => loadSettings()),
    changeSetting: (change) => write("audit", (db) => changeSetting(db, change)),
    listSettingChanges: (query) => read(({ listSettingChanges }) => listSettingChanges(query)),

    beginTask: (begin) => write("audit", (db) => beginTask(db, begin)),
    beatTask: (beat) => write("audit", (db) => beatTask(db, beat)),
    endTask: (end) => write("audit", (db) => endTask(db, end)),
    listStuckTasks: (query) => read(({ listStuckTasks }) => listStuckTasks(query)),
    endStuckTasks: (end) => write("audit", (db) => endStuckTasks(db, end)),
    listTasks: (query) => read(({ listTasks }) => listTasks(query)),

    raiseAlert: (alert) => write("story", (db) => raiseAlert(db, alert)),
    resolveAlert: (resolution) => write("story", (db) => resolveAlert(db, resolution)),
    listAlerts: (query) => read(({ listAlerts }) => listAlerts(query)),

    announceMaintenance: (window) => write("audit", (db) => announceMaintenance(db, window, clock.now())),
    endMaintenance: (end) => write("audit", (db) => endMaintenance(db, end)),
    listMaintenance: (query) => read(({ listMaintenance }) => listMaintenance(query)),

    countActions: (range) => read(({ countActions }) => countActions(range)),
    sumFailures: (range) => read(({ sumFailures }) => sumFailures(range)),
    countTaskEnds: (range) => read(({ countTaskEnds }) => countTaskEnds(range)),
    countAudited: (query) => read(({ countAudited }) => countAudited(query)),
    listRepairEnds: (query) => read(({ listRepairEnds }) => listRepairEnds(query)),
  });
}

function within(name: string, value: number, least: number, most: number): number {
  if (value >= least && value <= most) return value;
  throw new ParamedicError("CONFIGURATION_INVALID", `${name} must be in [${least}, ${most}], got ${value}`);
}
