/**
 * `createParamedic()`: the only composition root. It settles the options, makes every part, connects them through ports and
 * puts the public door in front. It is longer than other files because it is the one place where all parts are named.
 */
import { hostname } from "node:os";
import { classify } from "../shared/classify.js";
import { degradationOf } from "../shared/degradation.js";
import type { Failure } from "../shared/failure.js";
import type { HealthReport } from "../shared/health.js";
import { matchesName, permitsOf } from "../shared/mode.js";
import { isFailedAction } from "../shared/safety.js";
import { type Accounting, pointsIn, type SeriesDescriptor } from "../shared/series.js";
import { SETTING_NAMES, type SettingValues } from "../shared/settings.js";
import { closeAccounts, impossibleIn } from "./accounting.js";
import { createAsyncCallContext } from "./adapters/async-call-context.js";
import { createLocalControlChannel } from "./adapters/local-control-channel.js";
import { createLocalStream } from "./adapters/local-stream.js";
import { createLogNotifier } from "./adapters/log-notifier.js";
import { createPinoLogger } from "./adapters/pino-logger.js";
import { connectRedis } from "./adapters/redis-connection.js";
import { createRedisControlChannel } from "./adapters/redis-control-channel.js";
import { createRedisStream } from "./adapters/redis-stream.js";
import { type AccessRequest, roleOfRequest } from "./api/access.js";
import { createHealthProcedure } from "./api/health-procedure.js";
import { accessRequestOf, createHttpHandler } from "./api/http-handler.js";
import { createRouter } from "./api/router.js";
import { CircuitBreakerRegistry } from "./circuit/circuit-breaker-registry.js";
import { createCircuitPersistence } from "./circuit/circuit-persistence.js";
import { sharingBy } from "./circuit-sharing.js";
import type { Paramedic } from "./door.js";
import { readEnvironment } from "./env.js";
import { createExposition } from "./exposition.js";
import { createFaults } from "./faults.js";
import { createDatabaseGuards } from "./guard/database/database-guards.js";
import type { GuardFlags } from "./guard/guard-engine.js";
import { createGuards } from "./guard/guards.js";
import { createGuardFetch } from "./guard/llm/guard-fetch.js";
import { createLlm, type LlmOptions } from "./guard/llm/llm.js";
import { createNestedRetries } from "./guard/llm/nested-retries.js";
import { createGuardCoverage } from "./guard/reach/guard-coverage.js";
import { ServiceReach } from "./guard/reach/service-reach.js";
import { registerBuiltInHealthChecks, registerDatabaseHealthCheck } from "./health/built-in-checks.js";
import { readCores } from "./health/cpu-check.js";
import { HealthCheckRegistry } from "./health/health-check-registry.js";
import { HealthMonitorService } from "./health/health-monitor-service.js";
import { readMemory } from "./health/memory-check.js";
import { accessBy, identifyBy } from "./host-context.js";
import { createInstrumentation } from "./instrumentation/instrumentation.js";
import type { Middleware } from "./instrumentation/middleware.js";
import { createOpenTelemetryBridge } from "./instrumentation/open-telemetry.js";
import { startProcessVitals } from "./instrumentation/process-vitals.js";
import { limitLogger } from "./log-limiter.js";
import { createAggregator } from "./metrics/aggregator.js";
import { Collector } from "./metrics/collector.js";
import { createCompaction } from "./metrics/compaction.js";
import { descriptorOf } from "./metrics/point-descriptor.js";
import { type ParamedicOptions, settleOptions } from "./options.js";
import { panicFailure } from "./panic-failure.js";
import { systemClock } from "./ports/clock.js";
import { systemIds } from "./ports/ids.js";
import type { Journal } from "./ports/journal.js";
import { silentLogger } from "./ports/logger.js";
import type { MetricPoint, MetricSink } from "./ports/metric-sink.js";
import { systemRandom } from "./ports/random.js";
import { operatorNotification } from "./recovery/alert-operator-strategy.js";
import { settleWithin } from "./recovery/attempt-strategy.js";
import { createBuiltInStrategies } from "./recovery/built-in-strategies.js";
import { createFeatures } from "./recovery/features.js";
import { createJournal } from "./recovery/journal.js";
import { createLastGood } from "./recovery/last-good.js";
import { createLoadShedder } from "./recovery/load-shedder.js";
import { createMaintenance } from "./recovery/maintenance.js";
import type { Reconnectable } from "./recovery/reconnect-strategy.js";
import { RecoveryEngine } from "./recovery/recovery-engine.js";
import { failureOfOpening } from "./recovery/recovery-rows.js";
import { RestartStrategy } from "./recovery/restart-strategy.js";
import { ScaleStrategy } from "./recovery/scale-strategy.js";
import { StateMachineStrategy } from "./recovery/state-machine-strategy.js";
import { shutDown } from "./shutdown.js";
import { openStore } from "./store-opening.js";
import { createStore } from "./store-target.js";
import { countAlerts, createTallies } from "./tallies.js";
import { createHealEverything } from "./watchdog/heal-everything.js";
import { createLiveSettings, type LiveSettings } from "./watchdog/live-settings.js";
import { createStuckTasks } from "./watchdog/stuck-tasks.js";
import { createTasks } from "./watchdog/tasks.js";
import { createWatchdog } from "./watchdog/watchdog.js";
import { createWatchdogAlerts } from "./watchdog-alerts.js";
import { registerWatchdogCheck } from "./watchdog-failure.js";

/**
 * Synchronous. A configuration error throws; a dependency that is away does not.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID` with one line per problem of the environment or the options
 * @example
 * const paramedic = createParamedic<Context>({ authorize: ({ ctx }) => (ctx.user?.isAdmin ? "operate" : undefined) });
 */
export function createParamedic<Context extends object = object>(
  options: ParamedicOptions<Context> = {},
): Paramedic<Context> {
  const { overrides = {} } = options;
  const environment = overrides.environment ?? readEnvironment();
  const settled = settleOptions(options, environment);
  const { flags } = environment;
  const enabled = flags.SELF_HEALING_ENABLED;
  const clock = overrides.clock ?? systemClock;
  const random = overrides.random ?? systemRandom;
  const ids = overrides.ids ?? systemIds;
  const instance = options.instance ?? environment.instance ?? instanceOf(hostname(), process.pid);
  const boot = ids();
  const place = options.restart === undefined ? undefined : (options.instance ?? environment.instance ?? hostname());
  const given = options.logger === false ? silentLogger : (options.logger ?? createPinoLogger({ instance }));
  const logger = limitLogger({ clock, logger: given });
  const faults = createFaults({ clock, logger });
  const tallies = createTallies();
  const notifier = countAlerts(overrides.notifier ?? createLogNotifier({ logger }), tallies);
  // Counting: collector → stream → aggregator → store.
  const store = overrides.store ?? createStore({ clock, logger, onFault: faults.at("store") }, settled.storeTarget);
  const redisTarget = options.redis ?? environment.redisUrl ?? false;
  const redis =
    enabled && redisTarget !== false
      ? connectRedis(redisTarget, { clock, random, onFault: faults.at("redis") })
      : undefined;
  const stream =
    redis === undefined
      ? createLocalStream({ clock })
      : createRedisStream({ redis, clock }, { key: settled.metricsRedisStreamKey, consumer: `${instance}:${boot}` });
  const collector = new Collector(
    { clock, stream, instance, boot, logger, onFault: faults.at("collector") },
    { batchSize: settled.metricsBatchSize, flushIntervalMs: settled.metricsFlushIntervalMs },
  );
  const aggregator = createAggregator({ clock, stream, store, logger, onFault: faults.at("aggregator") });
  // Nobody else reads an in-process stream.
  const aggregates = settled.aggregate || redis === undefined;

  const { openTelemetry } = options;
  const bridge =
    enabled && openTelemetry !== undefined
      ? createOpenTelemetryBridge(openTelemetry, {
          sink: collector,
          describe: descriptorOf,
          own: () => exposition.own(),
          onFault: faults.at("OpenTelemetry"),
        })
      : undefined;
  const sink: MetricSink = bridge?.sink ?? collector;
  const compaction = createCompaction(
    { clock, store, logger, onFault: faults.at("compaction") },
    { retention: settled.retention },
  );

  // What operators and the watchdog change while it runs, and how the instances hear of each other.
  const channelDeps = { onFault: faults.at("control channel") };
  const channel =
    redis === undefined
      ? createLocalControlChannel(channelDeps)
      : createRedisControlChannel(
          { redis, ...channelDeps },
          { channel: `${settled.metricsRedisStreamKey}:control`, sender: `${instance}:${boot}` },
        );
  const settings = createLiveSettings({
    clock,
    store,
    channel,
    ceiling: { mode: flags.SELF_HEALING_MODE, chosenMode: settled.mode, flags },
    onFault: faults.at("settings"),
  });

  // Calls: middleware, guards, and the journal in which they write what they saw and did.
  const callContext = createAsyncCallContext();
  const reach = new ServiceReach();
  const coverage = createGuardCoverage({ clock, callContext, reach, onFault: faults.at("coverage") });
  const journal = createJournal({ ids, onFault: faults.at("journal") });
  const withTrace = (failure: Failure): Failure => {
    const traceId = bridge?.traceId();
    return traceId === undefined ? failure : { ...failure, context: { ...failure.context, traceId } };
  };
  const countingJournal: Journal = {
    append(entry) {
      journal.append(entry);
      tallies.entry(entry);
    },
  };
  /** What a call saw fail keeps the trace it failed in, and moves health at once. */
  const callJournal: Journal = {
    append(entry) {
      if (entry.type !== "failure.observed") {
        countingJournal.append(entry);
        return;
      }
      countingJournal.append({ ...entry, failure: withTrace(entry.failure) });
      monitor.poke();
    },
  };
  const identify = identifyBy(options.identify);
  const shedder =
    enabled && options.loadShedding
      ? createLoadShedder(
          {
            clock,
            ids,
            journal: callJournal,
            instance,
            permitted: () =>
              settings.values().AUTO_RECOVERY_ENABLED &&
              permitsOf(settings.mode(), `process:${instance}`, settled.limitedServices).repairs,
          },
          options.loadShedding,
        )
      : undefined;
  const instrumentation = createInstrumentation(
    {
      sink,
      journal: callJournal,
      callContext,
      clock,
      ids,
      identify,
      power: followSettings(settings, (values) => ({ isOn: values.INSTRUMENTATION_ENABLED })),
      loadGate: shedder?.gate,
      onFault: faults.at("instrumentation"),
    },
    { sampleIntervalMs: settled.metricsFlushIntervalMs },
  );
  const circuits = new CircuitBreakerRegistry(
    {
      clock,
      random,
      instance,
      logger,
      onFault: faults.at("circuits"),
      classify: (error, name) => classify(error, name).verdict,
      enforce: (name) =>
        settings.values().CIRCUIT_BREAKERS_ENABLED &&
        permitsOf(settings.mode(), name, settled.limitedServices).circuits,
      onPanic(report) {
        const failure = panicFailure(report, { eventId: ids(), timestamp: clock.now() });
        countingJournal.append({ type: "failure.observed", failure, rescued: false });
      },
    },
    {
      panicShare: settled.circuitPanicShare,
      parentShare: settled.circuitParentShare,
      parentMinimum: settled.circuitParentMinimum,
    },
  );
  const sharing = sharingBy(settled.circuitSharing, faults.at("circuitSharing"));
  const persistence = enabled
    ? createCircuitPersistence(
        {
          registry: circuits,
          store,
          channel,
          clock,
          random,
          journal,
          logger,
          instance,
          onFault: faults.at("circuit persistence"),
        },
        {
          sharing,
          quorumWindowMs: settled.circuitQuorumWindowMs,
          syncIntervalMs: settled.circuitSyncIntervalMs,
        },
      )
    : undefined;
  const criticalities = Object.entries(options.serviceCriticality ?? {});
  const criticalityOf = (service: string) => criticalities.find(([pattern]) => matchesName(pattern, service))?.[1];
  const maintenance = createMaintenance({ clock, ids, store, onFault: faults.at("maintenance") });
  const recovery = new RecoveryEngine(
    {
      clock,
      random,
      ids,
      logger,
      journal,
      store,
      settings,
      callContext,
      instance,
      place,
      stakeOf(service) {
        const procedures = reach.proceduresOf(service);
        return { criticality: criticalityOf(service), procedures: procedures.length > 0 ? procedures : undefined };
      },
      isEnabled: (name) => isStrategyEnabled(name, settings.values()),
      inMaintenance: maintenance.covers,
      onRow(row) {
        tallies.action(row);
        if (row.scope === "service" && isFailedAction(row.status)) watchdog.poke();
      },
      onFault: faults.at("recovery"),
    },
    {
      resolveAfterMs: settled.resolveAfterMs,
      limitedServices: settled.limitedServices,
      policies: settled.recoveryPolicies,
      escalateAfter: settled.escalateAfter,
      approvalTimeoutMs: settled.approvalTimeoutMs,
    },
  );
  const reconnectables = new Map<string, Reconnectable>();
  const guardedDatabase = (name: string) => databases.databases().find((database) => database.name === name);
  /** Asks a service past its circuit, where that costs nothing. */
  const probeOf = (name: string): (() => unknown) | undefined => {
    const known = reconnectables.get(name) ?? guardedDatabase(name);
    return known && (() => known.ping());
  };
  const strategies = createBuiltInStrategies(
    {
      clock,
      random,
      circuits: {
        channel,
        circuitState: (name) => circuits.get(name)?.getState().state,
        staysUsable: ({ failureType, affectedService }) =>
          (failureType === "database_readonly" || failureType === "disk_full") &&
          guardedDatabase(affectedService) !== undefined,
      },
      circuitReset: {
        channel,
        circuitState(name) {
          const circuit = circuits.get(name)?.snapshot();
          return circuit?.held === undefined ? circuit?.state : undefined;
        },
        probe: probeOf,
      },
      operators: {
        store,
        alert(alert) {
          const notification = operatorNotification(alert);
          if (options.onOperatorAlert === undefined) return notifier.notify(notification);
          tallies.alert(notification);
          return options.onOperatorAlert(alert);
        },
      },
      reconnectable(name) {
        const own = reconnectables.get(name);
        if (own) return own;
        const database = guardedDatabase(name);
        return database?.reconnect === undefined ? undefined : { reconnect: database.reconnect, ping: database.ping };
      },
    },
    {
      maxAttempts: settled.maxRetryAttempts,
      baseDelayMs: settled.retryBaseDelayMs,
      maxDelayMs: settled.retryMaxDelayMs,
    },
  );
  const stuckTasks = createStuckTasks({ clock, ids, store, onFault: faults.at("task sources") });
  for (const strategy of [...strategies, stuckTasks.strategy]) recovery.registerStrategy(strategy);
  const lastGood = createLastGood({ clock, store, onFault: faults.at("last good values") });
  const features = createFeatures({
    clock,
    store,
    journal: callJournal,
    registerStrategy: (strategy) => recovery.registerStrategy(strategy),
    isHealthy: (service) =>
      circuits.get(service)?.getState().state !== "open" &&
      health.latest().checks.every(({ name, status }) => name !== service || status !== "unhealthy"),
    onFault: faults.at("features"),
  });
  const { scaleWebhook, restart } = options;
  if (scaleWebhook) recovery.registerStrategy(new ScaleStrategy({ clock, instance }, scaleWebhook));
  if (restart && place !== undefined) {
    const {
      mostPerWindow,
      windowMs,
      drain,
      exitCode = EXIT_FOR_RESTART,
      exit = (code) => process.exit(code),
    } = restart;
    const endProcess = async () => {
      draining = true;
      await settleWithin(clock, settled.shutdownTimeoutMs, async () => drain?.()).catch(faults.at("drain"));
      await shutdown();
      exit(exitCode);
    };
    recovery.registerStrategy(
      new RestartStrategy({ clock, place, mostPerWindow, windowMs, restart: () => void endProcess() }),
    );
  }
  const tasks = createTasks({
    ids,
    store,
    instance,
    watch: stuckTasks.watch,
    whenStuck: stuckTasks.whenStuck,
    onFault: faults.at("tasks"),
  });
  const guardDeps = {
    clock,
    random,
    ids,
    registry: circuits,
    journal: callJournal,
    callContext,
    reach,
    settings,
    sink,
    strategies: () => recovery.strategies(),
    classify,
    instance,
    flags: followSettings(settings, (values) => guardFlags(enabled, values)),
    logger,
    onFault: faults.at("guards"),
    limitedServices: settled.limitedServices,
  };
  const { timeoutMs, failureThreshold, successThreshold, resetTimeoutMs } = settled;
  const policy = {
    timeoutMs,
    successThreshold,
    resetTimeoutMs,
    ...(failureThreshold !== undefined && { failureThreshold }),
  };
  const guards = createGuards(guardDeps, policy);
  const databases = createDatabaseGuards(guardDeps, policy);
  const nestedRetries = createNestedRetries({ callContext, logger, onFault: faults.at("nested retries") });
  const watchRetries = (name: string): void => {
    if (enabled && name.startsWith("llm:")) nestedRetries.start();
  };

  // Health. Calls succeed without the store of ours and the stream, so neither takes the app out of service.
  const health = new HealthCheckRegistry(
    { clock },
    { timeoutMs: settled.healthCheckTimeoutMs, intervalMs: settled.healthCheckIntervalMs },
  );
  const snapshots = () => circuits.getAll().map((circuit) => circuit.snapshot());
  const stopMeasuring = registerBuiltInHealthChecks(health, redis, sink, {
    clock,
    store: { ping: () => store.ping(), isReady: () => opening?.attempted() ?? false },
    circuits: snapshots,
    redisCriticality: "important",
  });
  const monitor = new HealthMonitorService(
    health,
    sink,
    { clock, ids, logger, journal: countingJournal, onFault: faults.at("health") },
    { intervalMs: settled.healthCheckIntervalMs },
  );
  circuits.subscribe({
    transitioned(transition) {
      tallies.transition(transition);
      monitor.poke();
      if (transition.to !== "open" || probeOf(transition.circuitName) === undefined) return;
      countingJournal.append({
        type: "failure.observed",
        failure: failureOfOpening(transition, ids()),
        rescued: false,
      });
    },
  });
  const guardDatabase: Paramedic["guardDatabase"] = (name, db, databasePolicy) => {
    const known = databases.databases().length;
    const guarded = databases.guardDatabase(name, db, databasePolicy);
    for (const database of databases.databases().slice(known)) {
      registerDatabaseHealthCheck(health, database, { clock });
      monitor.poke();
    }
    return guarded;
  };

  const repair = (failure: Failure) => recovery.handleFailure(failure);
  const watchdog = createWatchdog(
    {
      clock,
      store,
      settings,
      stuckTasks,
      tasks,
      health: () => health.latest(),
      repair,
      alert: createWatchdogAlerts({
        clock,
        ids,
        store,
        journal: countingJournal,
        settings,
        notifier,
        drain: () => recovery.drainOnce(),
        onFault: faults.at("alerts"),
      }),
      onFault: faults.at("watchdog"),
    },
    { checkIntervalMs: settled.healthCheckIntervalMs },
  );
  registerWatchdogCheck(health, watchdog, { enabled });
  const healEverything = createHealEverything({
    clock,
    ids,
    checks: () => health.checks(),
    check: () => health.executeAll(),
    beat: watchdog.beat,
    repair,
  });

  /** Behind the calls, once circuits and settings are known: what another life left broken is repaired before it is met. */
  const healAtStart = async () => {
    await persistence?.restored;
    if (draining) return;
    await healEverything("watchdog").catch(faults.at("healing at start"));
  };

  let draining = false;
  let settingsRead: Promise<void> | undefined;
  const opening = enabled
    ? openStore({
        clock,
        store,
        logger,
        onOpen() {
          persistence?.start();
          if (aggregates) {
            aggregator.start();
            compaction.start();
          }
          settingsRead = settings.start();
          // Whether repairs may begin is known before the first of them.
          void settingsRead.then(() => {
            if (draining) return;
            recovery.start();
            watchdog.start();
            if (settings.values().HEALTH_MONITORING_ENABLED) void healAtStart();
          });
          features.start();
          maintenance.start();
        },
      })
    : undefined;
  const isStoreOpen = () => opening?.isOpen() === true;
  if (enabled && flags.INSTRUMENTATION_ENABLED) {
    collector.start();
    instrumentation.start();
    coverage.start();
  }
  if (enabled && flags.HEALTH_MONITORING_ENABLED) monitor.start();
  settings.subscribe((values, before) => {
    logger.warn({ event: "settings", before, values }, `settings changed: ${changesOf(values, before)}`);
    if (values.HEALTH_MONITORING_ENABLED === before.HEALTH_MONITORING_ENABLED || draining) return;
    if (values.HEALTH_MONITORING_ENABLED) monitor.start();
    else void monitor.stop();
  });
  shedder?.start();

  // What is shown, and to whom.
  const accounting = async (): Promise<Accounting> => {
    const { recorded, dropped, inFlight } = collector.accounting();
    // A stream that cannot be asked may hold anything: then nothing is called lost.
    const backlog = await stream.backlog().catch(() => Number.POSITIVE_INFINITY);
    const [ledger, gaps] = await Promise.all([store.ledger(), store.listGaps({ limit: GAPS_SHOWN })]);
    const arriving = { backlog, unsettledPoints: inFlight };
    const accounts = closeAccounts(ledger, { boot, recorded, dropped }, arriving, gaps);
    const impossible = impossibleIn(accounts);
    if (impossible) faults.at("accounting")(impossible);
    return accounts;
  };
  const exposition = createExposition({
    clock,
    series: () => collector.cumulative(),
    accounting,
    backlog: () => stream.backlog(),
    startVitals: () =>
      startProcessVitals({
        clock,
        limits: { cores: readCores, memoryBytes: () => readMemory().containerLimitBytes },
        onFault: faults.at("process vitals"),
      }),
    state: () => ({
      ...tallies.read(),
      sharing: persistence?.stats(),
      panic: circuits.panic(),
      now: clock.now(),
      instance,
      mode: settings.mode(),
      storeOpen: isStoreOpen(),
      circuits: circuits.getAll().map((circuit) => ({ ...circuit.snapshot(), counts: circuit.counts() })),
      health: health.latest(),
      pipeline: collector.accounting(),
      entries: aggregator.stats(),
      recovery: recovery.state(),
      faults: faults.counts(),
    }),
  });
  bridge?.start();
  const access = accessBy(options.authorize, identify);
  const report = (): HealthReport => {
    const latest = health.latest();
    const storeAway = enabled && (opening?.attempted() ?? false) && (!opening?.isOpen() || !recovery.state().storing);
    const checks = latest.checks.filter(({ criticality }) => criticality !== "optional");
    return { ...latest, degradation: degradationOf({ circuits: snapshots(), checks, storeAway }) };
  };
  const circuitViews = () => {
    const poisoned = new Set(persistence?.stats().poisoned);
    const beyond = new Set(circuits.panic().beyond);
    return snapshots().map((snapshot) => ({
      ...snapshot,
      sharing: sharing(snapshot.name),
      poisoned: poisoned.has(snapshot.name),
      beyondPanic: beyond.has(snapshot.name),
    }));
  };
  const router = createRouter({
    clock,
    store,
    access,
    onFault: faults.at("api"),
    circuits: circuitViews,
    control: {
      async hold(name, hold) {
        await store.holdCircuit(name, hold, clock.now());
        const circuitName = name;
        channel.publish(hold ? { type: "circuit.hold", circuitName, hold } : { type: "circuit.release", circuitName });
      },
      reset: async (name) => persistence?.reset(name),
    },
    recovery: recovery.control,
    maintenance,
    settings,
    watchdog: { state: watchdog.state, healEverything: () => healEverything() },
    accounting,
    health: report,
    coverage: coverage.read,
    status: () => ({
      instance,
      mode: settings.mode(),
      storeOpen: isStoreOpen(),
      settingsAgeMs: settings.view().ageMs,
      circuitsAgeMs: persistence?.stats().ageMs,
    }),
  });

  let foldedAtEnd = 0;
  /** What Redis has confirmed is there for others; what the in-process stream holds ends with this process. */
  const sayWhatIsUnsaved = () => {
    const { sent, handedOver, inFlight } = collector.accounting();
    const { committedPoints, duplicatePoints } = aggregator.stats();
    const saved = redis === undefined ? committedPoints + duplicatePoints : sent + foldedAtEnd;
    const points = sent + handedOver + inFlight - saved;
    if (!enabled || points === 0) return;
    const line = `shutdown ended with ${points} points that neither the stream nor the store has taken`;
    logger.warn({ event: "shutdown", points }, line);
  };
  let ended: Promise<void> | undefined;
  const shutdown = (): Promise<void> => {
    draining = true;
    ended ??= shutDown({
      clock,
      timeoutMs: settled.shutdownTimeoutMs,
      async stopSources() {
        stopMeasuring();
        shedder?.stop();
        await features.stop();
        await maintenance.stop();
        databases.stop();
        nestedRetries.stop();
        coverage.stop();
        exposition.stop();
        bridge?.stop();
        await watchdog.stop();
        await settings.stop();
        await monitor.stop();
        await instrumentation.stop();
        await opening?.stop();
        await compaction.stop();
      },
      stopCollector: () => collector.stop(),
      async drainStream(deadlineMs) {
        if (aggregates && isStoreOpen()) await aggregator.drain({ deadlineMs });
      },
      stopAggregator: () => aggregator.stop(),
      // Nobody else has these, so they are folded here even where aggregation is left to others.
      leftOver: () => (isStoreOpen() ? collector.drain() : []),
      async fold(batch) {
        await aggregator.fold(batch);
        foldedAtEnd += pointsIn(batch);
      },
      async stopRecording() {
        await recovery.stop();
        await persistence?.stop();
      },
      async closeStream() {
        await stream.close();
        await redis?.close();
      },
      closeStore: () => store.close(),
      onFault: faults.at("shutdown"),
    }).then(sayWhatIsUnsaved);
    return ended;
  };

  const measured = enabled && flags.INSTRUMENTATION_ENABLED;
  return Object.freeze<Paramedic<Context>>({
    ready:
      opening?.first.then(async (readiness) => {
        await persistence?.restored;
        await settingsRead;
        return readiness;
      }) ?? Promise.resolve({ store: "unavailable", code: "CLOSED", message: "SELF_HEALING_ENABLED is false" }),
    middleware: () => (measured ? instrumentation.middleware : passThrough),
    instrument: measured ? instrumentation.instrument : (given) => given,
    onError: measured ? instrumentation.onError : () => {},
    express: ({ metricsFor = "token" } = {}) => {
      const roleOf = (request: AccessRequest) =>
        roleOfRequest(metricsFor === "loopback" ? request : { ...request, remoteAddress: undefined }, environment);
      const hasToken = environment.readToken !== undefined || environment.operatorToken !== undefined;
      return createHttpHandler({
        health: report,
        monitored: enabled && flags.HEALTH_MONITORING_ENABLED,
        draining: () => draining,
        roleOf,
        metrics:
          enabled && (metricsFor === "loopback" || hasToken)
            ? { families: exposition.families, roleOf: (request) => roleOf(accessRequestOf(request)) }
            : undefined,
        onFault: faults.at("api"),
      });
    },
    router,
    healthProcedure: createHealthProcedure({ health: report, access }),
    guard(name, guardPolicy) {
      watchRetries(name);
      return guards.guard(name, guardPolicy);
    },
    operation(name, definition) {
      Object.keys(definition.targets ?? {}).forEach(watchRetries);
      return guards.operation(name, definition);
    },
    run: guards.run,
    llm: (llmOptions: LlmOptions) => createLlm({ guards, clock, sink, callContext }, llmOptions),
    guardFetch: (service, fetch, fetchOptions) =>
      createGuardFetch({ guards, clock, sink, nestedRetries }, service, fetch, fetchOptions),
    guardDatabase,
    transaction: databases.transaction,
    feature: features.feature,
    lastGood: (operation, lastGoodOptions) => lastGood.of(operation, lastGoodOptions),
    stateMachine: (name, machine) => recovery.registerStrategy(new StateMachineStrategy(name, machine, { clock })),
    reconnectable: (name, connection) => void reconnectables.set(name, connection),
    metrics: Object.freeze({
      record: (point: MetricPoint) => sink.record(point),
      series: (descriptor: SeriesDescriptor) => sink.series(descriptor),
      accounting,
    }),
    health,
    circuits,
    recovery,
    tasks,
    healEverything: () => healEverything(),
    store,
    options: Object.freeze({ ...settled, instance, flags }),
    faults: () => faults.counts(),
    shutdown,
  });
}

/** EX_TEMPFAIL: supervisors that restart on failure do. */
const EXIT_FOR_RESTART = 75;

/** Gaps that the accounting names; their points are all counted. */
const GAPS_SHOWN = 100;

const passThrough: Middleware = (opts) => opts.next();

function changesOf(values: SettingValues, before: SettingValues): string {
  const changed = SETTING_NAMES.filter((name) => values[name] !== before[name]);
  return changed.map((name) => `${name} ${String(before[name])} → ${String(values[name])}`).join(", ");
}

/** Host and process: unique on one machine at one time, and legal as a name. */
function instanceOf(host: string, pid: number): string {
  return `${host.replace(/[^A-Za-z0-9._-]/g, "-").slice(0, 80)}-${pid}`;
}

/** Always what the settings say, in plain properties, because every call reads them. */
function followSettings<T extends object>(settings: LiveSettings, pick: (values: SettingValues) => T): Readonly<T> {
  const picked = pick(settings.values());
  settings.subscribe((values) => Object.assign(picked, pick(values)));
  return picked;
}

function guardFlags(enabled: boolean, values: SettingValues): GuardFlags {
  return {
    enabled,
    circuitBreakers: values.CIRCUIT_BREAKERS_ENABLED,
    autoRecovery: values.AUTO_RECOVERY_ENABLED,
    retry: values.RETRY_STRATEGY_ENABLED,
    failover: values.FAILOVER_STRATEGY_ENABLED,
  };
}

/** The built-in strategies have a flag each; the user's own only the one for all. */
function isStrategyEnabled(name: string, flags: SettingValues): boolean {
  if (!flags.AUTO_RECOVERY_ENABLED) return false;
  if (name === "exponential_backoff_retry") return flags.RETRY_STRATEGY_ENABLED;
  if (name === "provider_failover") return flags.FAILOVER_STRATEGY_ENABLED;
  return true;
}
