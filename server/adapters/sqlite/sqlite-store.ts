/**
 * The store in an SQLite file: writes go to one worker thread, ranges of many series to another, and what is read in a moment
 * is read by a connection of this thread that cannot write.
 */
import { ParamedicError } from "../../../shared/errors.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { Clock } from "../../ports/clock.js";
import { type Logger, silentLogger } from "../../ports/logger.js";
import type { Store } from "../../ports/store.js";
import { spawnReader, spawnWriter } from "./spawn-thread.js";
import { storeErrorOf } from "./sqlite-errors.js";
import { createSqliteReader, type SqliteReader } from "./sqlite-reader.js";
import type { WriteCommands } from "./sqlite-writer.js";
import { createThreadClient, type StoreThread } from "./thread-client.js";
import type { ReadCommands, ReaderOptions, WriterOptions } from "./thread-protocol.js";

export interface SqliteStoreDeps {
  readonly clock: Clock;
  /** @default silent */
  readonly logger?: Logger | undefined;
  /** Told of faults of the store's own machinery, such as a crash of its thread. @default logged */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /** What writes. @default a worker thread */
  readonly spawn?: ((options: WriterOptions) => StoreThread) | undefined;
  /** What reads ranges of many series. @default a worker thread, from the first such read on */
  readonly spawnReader?: ((options: ReaderOptions) => StoreThread) | undefined;
}

export interface SqliteStoreOptions {
  /** The file; it is created where there is none, its folder is not. */
  readonly path: string;
  /** How long a write waits for a lock that another process holds. 0 to 60,000 ms. @default 5_000 */
  readonly busyTimeoutMs?: number | undefined;
  /** How long a read waits; it blocks this thread, so keep it short. 0 to 1,000 ms. @default 100 */
  readonly readBusyTimeoutMs?: number | undefined;
  /** How long a write may wait for its turn, and then how long it may run; above busyTimeoutMs. @default busyTimeoutMs + 5_000 */
  readonly requestTimeoutMs?: number | undefined;
  /** How long a range of many series may wait for its turn, and then how long it may take to read. 1 to 600,000 ms. @default 15_000 */
  readonly rangeTimeoutMs?: number | undefined;
  /** How long migrating may wait for other processes that migrate. @default 30_000 */
  readonly migrationTimeoutMs?: number | undefined;
}

const DEFAULTS = {
  busyTimeoutMs: 5 * SECOND_MS,
  readBusyTimeoutMs: 100,
  requestSlackMs: 5 * SECOND_MS,
  rangeTimeoutMs: 15 * SECOND_MS,
  migrationTimeoutMs: 30 * SECOND_MS,
  /** A minute of writes at the usual pace; more waiting would only grow memory while the disk hangs. */
  maxWaiting: 1_000,
  /** Several pages of charts. */
  maxRangesWaiting: 100,
} as const;

/**
 * @throws ParamedicError CONFIGURATION_INVALID for a value out of its range
 * @example
 * const store = createSqliteStore({ clock: systemClock }, { path: "./paramedic.db" });
 * await store.open();
 */
export function createSqliteStore(deps: SqliteStoreDeps, options: SqliteStoreOptions): Store {
  const { clock } = deps;
  const { path } = options;
  const logger = deps.logger ?? silentLogger;
  const onFault =
    deps.onFault ?? ((error) => logger.error({ event: "fault", subject: "store" }, storeErrorOf(error, path).message));
  const busyTimeoutMs = within("busyTimeoutMs", options.busyTimeoutMs ?? DEFAULTS.busyTimeoutMs, 0, 60_000);
  const readBusyTimeoutMs = within(
    "readBusyTimeoutMs",
    options.readBusyTimeoutMs ?? DEFAULTS.readBusyTimeoutMs,
    0,
    1_000,
  );
  const migrationTimeoutMs = options.migrationTimeoutMs ?? DEFAULTS.migrationTimeoutMs;
  const requestTimeoutMs = within(
    "requestTimeoutMs",
    options.requestTimeoutMs ?? busyTimeoutMs + DEFAULTS.requestSlackMs,
    busyTimeoutMs + 1,
    600_000,
  );

  const rangeTimeoutMs = within("rangeTimeoutMs", options.rangeTimeoutMs ?? DEFAULTS.rangeTimeoutMs, 1, 600_000);

  const spawn = deps.spawn ?? spawnWriter;
  const writer = createThreadClient<WriteCommands>(
    { clock, onFault, spawn: () => spawn({ path, busyTimeoutMs, migrationTimeoutMs }) },
    {
      path,
      work: "write",
      requestTimeoutMs,
      openTimeoutMs: migrationTimeoutMs + requestTimeoutMs,
      maxWaiting: DEFAULTS.maxWaiting,
    },
  );
  const startReader = deps.spawnReader ?? spawnReader;
  const ranges = createThreadClient<ReadCommands>(
    { clock, onFault, spawn: () => startReader({ path, busyTimeoutMs }) },
    {
      path,
      work: "read",
      requestTimeoutMs: rangeTimeoutMs,
      openTimeoutMs: rangeTimeoutMs,
      maxWaiting: DEFAULTS.maxRangesWaiting,
    },
  );
  let reader: SqliteReader | undefined;
  let wasOpen = false;
  let opening: Promise<void> | undefined;
  let closing: Promise<void> | undefined;

  const openOnce = async () => {
    try {
      reader?.assertSameFile();
      if (reader) return;
    } catch {
      reader?.close();
      reader = undefined;
    }
    await writer.open();
    reader = translated(() => createSqliteReader(path, { busyTimeoutMs: readBusyTimeoutMs }));
    wasOpen = true;
  };

  const translated = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw storeErrorOf(error, path);
    }
  };

  const open = (): Promise<void> => {
    opening ??= openOnce().finally(() => {
      opening = undefined;
    });
    return opening;
  };

  /** A store that was open and lost its file refuses what is asked of it, and opens the file anew for what comes next. */
  const opened = (): SqliteReader => {
    if (closing) throw new ParamedicError("CLOSED", `the store ${path} is closed`);
    try {
      if (!reader) {
        throw new ParamedicError("STORE_UNAVAILABLE", `the database ${path} is not open; open the store first`);
      }
      reader.assertSameFile();
      return reader;
    } catch (error) {
      if (wasOpen && !opening) open().catch(onFault);
      throw error;
    }
  };

  const read = async <T>(query: (queries: SqliteReader["queries"]) => T): Promise<T> =>
    translated(() => query(opened().queries));

  /** Refuses what comes before `open` or after `close`. */
  const write: typeof writer.call = async (command, ...args) => {
    opened();
    return writer.call(command, ...args);
  };

  /** Of what may touch many rows. */
  const readAway: typeof ranges.call = async (command, ...args) => {
    opened();
    return ranges.call(command, ...args);
  };

  return Object.freeze<Store>({
    async open() {
      if (closing) throw new ParamedicError("CLOSED", `the store ${path} is closed`);
      await open();
    },

    async ping() {
      const startedAt = clock.monotonic();
      await write("ping");
      return clock.monotonic() - startedAt;
    },

    async close() {
      closing ??= (async () => {
        await opening?.catch(() => undefined);
        // The writer last: only a connection that may write can fold the WAL into the file as it goes.
        reader?.close();
        await ranges.close();
        await writer.close();
      })();
      await closing;
    },

    commitEntry: (fields) => write("commitEntry", fields, clock.now()),
    commitBatch: (batch) => write("commitBatch", batch, clock.now()),
    saveDeadBatch: (dead) => write("saveDeadBatch", dead),
    settleBatches: (slice) => write("settleBatches", slice),
    compactRollups: (slice) => write("compactRollups", slice),
    pruneRollups: (slice) => write("pruneRollups", slice),
    pruneRecords: (slice) => write("pruneRecords", slice),
    listSeries: (filter) => read(({ listSeries }) => listSeries(filter)),
    readMetric: (metricName) => read(({ readMetric }) => readMetric(metricName)),
    // What is over in a moment costs less than the way to the thread and back.
    async readSeries(query) {
      const small = await read(({ readSeriesIfSmall }) => readSeriesIfSmall(query));
      return small ?? ranges.call("readSeries", query);
    },
    async readHeatMap(query) {
      const small = await read(({ readHeatMapIfSmall }) => readHeatMapIfSmall(query));
      return small ?? ranges.call("readHeatMap", query);
    },
    readTopProcedures: (query) => readAway("readTopProcedures", query),
    readStretches: (range) => read(({ readStretches }) => readStretches(range)),
    ledger: () => read(({ ledger }) => ledger()),
    listGaps: (query) => read(({ listGaps }) => listGaps(query)),

    recordFailures: (sightings) => write("recordFailures", sightings, clock.now()),
    listFailures: (query) => read(({ listFailures }) => listFailures(query)),
    getFailure: (eventId) => read(({ getFailure }) => getFailure(eventId)),
    resolveFailure: (eventId, resolvedAt) => write("resolveFailure", eventId, resolvedAt),
    resolveQuietFailures: (quietSince, resolvedAt) => write("resolveQuietFailures", quietSince, resolvedAt),

    listIncidents: (query) => read(({ listIncidents }) => listIncidents(query)),
    getIncident: (incidentId) => read(({ getIncident }) => getIncident(incidentId)),

    recordRescues: (actions) => write("recordRescues", actions, clock.now()),
    leaseRepair: (action, terms = {}) => write("leaseRepair", action, terms, clock.now()),
    approveRepair: (approval, terms = {}) => write("approveRepair", approval, terms),
    declineRepair: (decline) => write("declineRepair", decline),
    completeRepair: (completion) => write("completeRepair", completion),
    abandonExpired: (now) => write("abandonExpired", now),
    getRecovery: (actionId) => read(({ getRecovery }) => getRecovery(actionId)),
    listRecoveries: (query) => read(({ listRecoveries }) => listRecoveries(query)),

    loadCircuits: (names) => read(({ loadCircuits }) => loadCircuits(names)),
    commitTransition: (snapshot, transition, options) => write("commitTransition", snapshot, transition, options),
    refreshCircuits: (snapshots, at) => write("refreshCircuits", snapshots, at),
    holdCircuit: (circuitName, hold, at) => write("holdCircuit", circuitName, hold, at),
    releaseExpiredHolds: () => write("releaseExpiredHolds"),
    leaseProbes: (lease) => write("leaseProbes", lease),
    recordOpinions: (report) => write("recordOpinions", report),
    listTransitions: (query) => read(({ listTransitions }) => listTransitions(query)),

    putLastGood: (value, limits) => write("putLastGood", value, limits),
    getLastGood: (operation, key) => read(({ getLastGood }) => getLastGood(operation, key)),

    recordAudit: (entry) => write("recordAudit", entry),
    listAudit: (query) => read(({ listAudit }) => listAudit(query)),

    loadSettings: () => read(({ loadSettings }) => loadSettings()),
    changeSetting: (change) => write("changeSetting", change),
    listSettingChanges: (query) => read(({ listSettingChanges }) => listSettingChanges(query)),

    beginTask: (begin) => write("beginTask", begin),
    beatTask: (beat) => write("beatTask", beat),
    endTask: (end) => write("endTask", end),
    listStuckTasks: (query) => read(({ listStuckTasks }) => listStuckTasks(query)),
    endStuckTasks: (end) => write("endStuckTasks", end),
    listTasks: (query) => read(({ listTasks }) => listTasks(query)),

    raiseAlert: (alert) => write("raiseAlert", alert),
    resolveAlert: (resolution) => write("resolveAlert", resolution),
    listAlerts: (query) => read(({ listAlerts }) => listAlerts(query)),

    announceMaintenance: (window) => write("announceMaintenance", window, clock.now()),
    endMaintenance: (end) => write("endMaintenance", end),
    listMaintenance: (query) => read(({ listMaintenance }) => listMaintenance(query)),

    countActions: (range) => readAway("countActions", range),
    sumFailures: (range) => readAway("sumFailures", range),
    countTaskEnds: (range) => readAway("countTaskEnds", range),
    countAudited: (query) => readAway("countAudited", query),
    listRepairEnds: (query) => readAway("listRepairEnds", query),
  });
}

function within(name: string, value: number, least: number, most: number): number {
  if (value >= least && value <= most) return value;
  throw new ParamedicError("CONFIGURATION_INVALID", `${name} must be in [${least}, ${most}] ms, got ${value}`);
}
