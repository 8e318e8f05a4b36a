/** Every option of `createParamedic`: unit in the name, default, legal range; and how code and environment become settings. */
import type { Redis } from "ioredis";
import { z } from "zod";
import { CIRCUIT_SHARINGS, type CircuitSharing } from "../shared/circuit.js";
import { CIRCUIT_DEFAULTS } from "../shared/circuit-config.js";
import { ParamedicError } from "../shared/errors.js";
import { CRITICALITIES, type Criticality } from "../shared/health.js";
import { LIMITED_SERVICES_DEFAULT, lowerMode, MODES, type Mode } from "../shared/mode.js";
import { type RecoveryPolicy, recoveryPolicies } from "../shared/recovery-policy.js";
import { DAY_MS, HOUR_MS, MAX_TIMER_MS, MINUTE_MS, SECOND_MS } from "../shared/units.js";
import type { Authorize } from "./api/access.js";
import { REGISTRY_DEFAULTS } from "./circuit/circuit-breaker-registry.js";
import { PERSISTENCE_DEFAULTS } from "./circuit/circuit-persistence.js";
import type { Environment } from "./env.js";
import type { OpenTelemetryApi } from "./instrumentation/open-telemetry.js";
import { RETAINED_TABLES, RETENTION_DEFAULTS, type Retention } from "./metrics/compaction.js";
import type { Clock } from "./ports/clock.js";
import type { Ids } from "./ports/ids.js";
import type { Logger } from "./ports/logger.js";
import type { Notifier } from "./ports/notifier.js";
import type { Random } from "./ports/random.js";
import type { Store } from "./ports/store.js";
import type { OperatorAlert } from "./recovery/alert-operator-strategy.js";
import { RECOVERY_ENGINE_DEFAULTS } from "./recovery/engine-options.js";
import type { LoadShedderOptions } from "./recovery/load-shedder.js";
import type { RestartOptions } from "./recovery/restart-strategy.js";
import type { ScaleWebhook } from "./recovery/scale-strategy.js";

/** Who is calling, for failure events, and how long he waits. */
export interface CallerIdentity {
  readonly userId?: string | undefined;
  readonly requestId?: string | undefined;
  /** How long this caller waits, from the call's begin: nothing below the call takes longer. 1 to 2^31-1 ms. */
  readonly timeoutMs?: number | undefined;
}

export interface ParamedicOptions<Context extends object = object> {
  /** `file:<path>`. @default PARAMEDIC_DATABASE_URL, else "file:./paramedic.db" */
  readonly database?: string | undefined;
  /** A URL, your ioredis client, or `false` for the in-process stream. @default PARAMEDIC_REDIS_URL, else REDIS_URL */
  readonly redis?: string | Redis | false | undefined;
  /** Decides who may read and operate through `paramedic.router`; without it nobody may. */
  readonly authorize?: Authorize<Context> | undefined;
  /**
   * Tells user and request of a call from its context, for failure events, and its deadline. A procedure's own deadline is
   * its meta: `.meta({ paramedic: { timeoutMs: 5_000, idempotent: true } })`.
   */
  readonly identify?: ((opts: { readonly ctx: Context }) => CallerIdentity) | undefined;
  /** This process's name: 1 to 100 of A-Z a-z 0-9 . _ -. @default PARAMEDIC_INSTANCE, else host and process id */
  readonly instance?: string | undefined;
  /** Under the ceiling of SELF_HEALING_MODE. @default SELF_HEALING_MODE */
  readonly mode?: Mode | undefined;
  /** Services that the mode `limited` may touch; a trailing `*` matches a prefix. @default ["llm:*"] */
  readonly limitedServices?: readonly string[] | undefined;
  /** Takes part in aggregation; without Redis it always does. @default PARAMEDIC_AGGREGATE */
  readonly aggregate?: boolean | undefined;
  /** Any logger with debug, info, warn and error; `false` for none. @default pino to standard output */
  readonly logger?: Logger | false | undefined;
  /** The module `@opentelemetry/api`: shows measurements as its instruments and keeps trace ids on failure events. */
  readonly openTelemetry?: OpenTelemetryApi | undefined;
  /** Series in one batch; 1 to 10,000. @default METRICS_BATCH_SIZE (100) */
  readonly metricsBatchSize?: number | undefined;
  /** 1 to 2^31-1. @default METRICS_FLUSH_INTERVAL_MS (1_000) */
  readonly metricsFlushIntervalMs?: number | undefined;
  /** @default METRICS_REDIS_STREAM_KEY ("metrics:stream") */
  readonly metricsRedisStreamKey?: string | undefined;
  /** 1 to 2^31-1. @default HEALTH_CHECK_INTERVAL_MS (30_000) */
  readonly healthCheckIntervalMs?: number | undefined;
  /** 1 to 2^31-1. @default HEALTH_CHECK_TIMEOUT_MS (5_000) */
  readonly healthCheckTimeoutMs?: number | undefined;
  /**
   * Consecutive failures that open a guard's circuit; 1 to 10,000. @default CIRCUIT_BREAKER_FAILURE_THRESHOLD where it is set,
   * else 10 for `llm:*`, 5 for others
   */
  readonly failureThreshold?: number | undefined;
  /** Successful probes that close it; 1 to 1,000. @default CIRCUIT_BREAKER_SUCCESS_THRESHOLD (2) */
  readonly successThreshold?: number | undefined;
  /** How long one guarded call may take; 1 to 2^31-1. @default CIRCUIT_BREAKER_TIMEOUT_MS (30_000) */
  readonly timeoutMs?: number | undefined;
  /** How long a circuit stays open; 1 to 2^31-1. @default CIRCUIT_BREAKER_RESET_TIMEOUT_MS (60_000) */
  readonly resetTimeoutMs?: number | undefined;
  /**
   * Whose failures move a circuit, for all of them or by name: `local` each instance's own, `shared` any instance's, `quorum`
   * those of more than half of the instances that use it. @default "shared"
   */
  readonly circuitSharing?: CircuitSharing | ((circuitName: string) => CircuitSharing) | undefined;
  /** With `quorum`: how long an instance's opinion counts; 1,000 to 2^31-1. @default 30_000 */
  readonly circuitQuorumWindowMs?: number | undefined;
  /** How soon at the latest an instance follows what others stored; at once where Redis tells it. 100 to 2^31-1. @default 5_000 */
  readonly circuitSyncIntervalMs?: number | undefined;
  /**
   * From ten circuits on, the share of them that may refuse calls by themselves at once; what opens beyond it only measures.
   * 0 to 1; 1 for no threshold. @default 0.5
   */
  readonly circuitPanicShare?: number | undefined;
  /**
   * The share of the circuits right below a name (`llm:openai/gpt`, `llm:openai/o3`) that have tripped when the circuit of
   * that name (`llm:openai`) trips with them; above 0, at most 1. @default 0.75
   */
  readonly circuitParentShare?: number | undefined;
  /** How many of them at least; 1 to 1,000,000. @default 2 */
  readonly circuitParentMinimum?: number | undefined;
  /** 0 to 20. @default RECOVERY_MAX_RETRY_ATTEMPTS (3) */
  readonly maxRetryAttempts?: number | undefined;
  /** 1 to 2^31-1. @default RECOVERY_RETRY_BASE_DELAY_MS (1_000) */
  readonly retryBaseDelayMs?: number | undefined;
  /** 1 to 2^31-1. @default RECOVERY_RETRY_MAX_DELAY_MS (30_000) */
  readonly retryMaxDelayMs?: number | undefined;
  /** An open failure event not seen for this long is resolved; 1 to 2^31-1. @default 60_000 */
  readonly resolveAfterMs?: number | undefined;
  /** Which repairs may run, for which services, when, how often and by whom; the first rule that fits decides. @default all */
  readonly recoveryPolicies?: readonly RecoveryPolicy[] | undefined;
  /** How much the app needs each service, by name or by prefix ending in `*`: moves the severity of failures. @default not said */
  readonly serviceCriticality?: Readonly<Record<string, Criticality>> | undefined;
  /** How often one level of recovery fails within ten minutes before the next is tried; 1 to 90. @default 3 */
  readonly escalateAfter?: number | undefined;
  /** How long a repair waits for an operator's yes; 1 to 2^31-1. @default 900_000 */
  readonly approvalTimeoutMs?: number | undefined;
  /**
   * Told when what could be done by itself did not help, with what was tried; and at once of a refused credential and a
   * missing model, which nobody else can put right. @default an error is logged
   */
  readonly onOperatorAlert?: ((alert: OperatorAlert) => void | Promise<void>) | undefined;
  /** Refuses the calls that matter least while the event loop is late by `maxDelayMs` (10 to 60,000 ms). @default false */
  readonly loadShedding?: LoadShedderOptions | false | undefined;
  /** Where more capacity is asked for. @default nowhere */
  readonly scaleWebhook?: ScaleWebhook | undefined;
  /** Lets Paramedic end this process when nothing else helps, so that its supervisor starts a fresh one. @default never */
  readonly restart?: RestartPolicy | undefined;
  /** How long rollups of each width and records of what happened are kept, by table where `tables` says so; an hour to a hundred years. @default a day, 14, 400, 3,650 and 30 days */
  readonly retention?: Partial<Retention> | undefined;
  /** How long `shutdown()` may take; 1 to 2^31-1. @default 10_000 */
  readonly shutdownTimeoutMs?: number | undefined;
  /** Parts replaced in tests: time, chance, ids, the store and who is told. */
  readonly overrides?: ParamedicOverrides | undefined;
}

/** How this process is ended and started anew; needs a supervisor that does so. */
export interface RestartPolicy extends RestartOptions {
  /** Ends what the app has under way, such as its HTTP server; waited for up to `shutdownTimeoutMs`. @default nothing */
  readonly drain?: (() => void | Promise<void>) | undefined;
  /** What the process ends with; 1 to 255. @default 75 */
  readonly exitCode?: number | undefined;
  /** Ends the process. @default process.exit */
  readonly exit?: ((code: number) => void) | undefined;
}

export interface ParamedicOverrides {
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly ids?: Ids | undefined;
  readonly store?: Store | undefined;
  /** Told of every alert: the watchdog's, and that a human must look. @default the log */
  readonly notifier?: Notifier | undefined;
  readonly environment?: Environment | undefined;
}

/** What stands when neither environment nor code says anything and no variable exists for it. */
export const OPTION_DEFAULTS = Object.freeze({
  limitedServices: LIMITED_SERVICES_DEFAULT,
  circuitSharing: "shared",
  resolveAfterMs: MINUTE_MS,
  shutdownTimeoutMs: 10 * SECOND_MS,
  halfOpenPermits: CIRCUIT_DEFAULTS.successThreshold,
});

const milliseconds = z.number().int().min(1).max(MAX_TIMER_MS);
/** From an hour to a hundred years. */
const keepingTime = z
  .number()
  .int()
  .min(HOUR_MS)
  .max(36_500 * DAY_MS);
const anyFunction = z.custom<(...args: never[]) => unknown>((value) => typeof value === "function", "a function");
const anyObject = z.custom<object>((value) => typeof value === "object" && value !== null, "an object");

/** Refused here, because later it would fail far from its cause, or not say a word. */
function objectWith(...methods: readonly string[]) {
  return z.custom<object>(
    (value) =>
      typeof value === "object" &&
      value !== null &&
      methods.every((method) => typeof Reflect.get(value, method) === "function"),
  );
}

const openTelemetryModule = z.looseObject({ metrics: objectWith("getMeter"), trace: objectWith("getActiveSpan") });

const REDIS = "a redis:// or rediss:// URL, a client of ioredis, or false";

const schema = z
  .strictObject({
    database: z.string().min(1).max(4_096),
    redis: z.union(
      [z.string().regex(/^(rediss?:\/\/\S+|unix:\/\S+)$/, REDIS), z.literal(false), objectWith("call", "duplicate")],
      REDIS,
    ),
    authorize: anyFunction,
    identify: anyFunction,
    instance: z.string().regex(/^[A-Za-z0-9._-]{1,100}$/, "1 to 100 of A-Z a-z 0-9 . _ -"),
    mode: z.enum(MODES),
    limitedServices: z.array(z.string().min(1).max(200)).max(1_000),
    aggregate: z.boolean(),
    logger: z.union(
      [z.literal(false), objectWith("debug", "info", "warn", "error")],
      "an object with the methods debug, info, warn and error, or false",
    ),
    openTelemetry: anyObject.refine(
      (value) => openTelemetryModule.safeParse(value).success,
      "the module @opentelemetry/api",
    ),
    metricsBatchSize: z.number().int().min(1).max(10_000),
    metricsFlushIntervalMs: milliseconds,
    metricsRedisStreamKey: z.string().regex(/^[\x21-\x7e]{1,200}$/, "1 to 200 printable characters without spaces"),
    healthCheckIntervalMs: milliseconds,
    healthCheckTimeoutMs: milliseconds,
    failureThreshold: z.number().int().min(1).max(10_000),
    successThreshold: z.number().int().min(1).max(1_000),
    timeoutMs: milliseconds,
    resetTimeoutMs: milliseconds,
    circuitSharing: z.union(
      [z.enum(CIRCUIT_SHARINGS), anyFunction],
      `${CIRCUIT_SHARINGS.join(", ")}, or a function of the name`,
    ),
    circuitQuorumWindowMs: milliseconds.min(SECOND_MS),
    circuitSyncIntervalMs: milliseconds.min(100),
    circuitPanicShare: z.number().min(0).max(1),
    circuitParentShare: z.number().gt(0).max(1),
    circuitParentMinimum: z.number().int().min(1).max(1_000_000),
    maxRetryAttempts: z.number().int().min(0).max(20),
    retryBaseDelayMs: milliseconds,
    retryMaxDelayMs: milliseconds,
    resolveAfterMs: milliseconds,
    recoveryPolicies,
    serviceCriticality: z.record(z.string().min(1).max(200), z.enum(CRITICALITIES)),
    escalateAfter: z.number().int().min(1).max(90),
    approvalTimeoutMs: milliseconds,
    onOperatorAlert: anyFunction,
    loadShedding: z.union(
      [z.literal(false), z.strictObject({ maxDelayMs: z.number().min(10).max(60_000) })],
      "false, or { maxDelayMs } of 10 to 60000",
    ),
    scaleWebhook: z.strictObject({
      url: z.url({ protocol: /^https?$/, error: "an http or https URL" }),
      secret: z.string().min(16).max(512).optional(),
      cooldownMs: milliseconds.optional(),
      timeoutMs: z.number().int().min(1).max(30_000).optional(),
    }),
    restart: z.strictObject({
      mostPerWindow: z.number().int().min(1).max(100).optional(),
      windowMs: milliseconds.optional(),
      drain: anyFunction.optional(),
      exitCode: z.number().int().min(1).max(255).optional(),
      exit: anyFunction.optional(),
    }),
    retention: z
      .strictObject({
        tenSecondsMs: keepingTime,
        minutesMs: keepingTime,
        hoursMs: keepingTime,
        daysMs: keepingTime,
        recordsMs: keepingTime,
        tables: z.partialRecord(z.enum(RETAINED_TABLES), keepingTime.optional()),
      })
      .partial(),
    shutdownTimeoutMs: milliseconds,
    overrides: anyObject,
  })
  .partial();

/** What the composition root works with: every value decided, default, environment and code in this order. */
export interface Settled {
  readonly storeTarget: StoreTarget;
  readonly mode: Mode;
  readonly limitedServices: readonly string[];
  readonly aggregate: boolean;
  readonly metricsBatchSize: number;
  readonly metricsFlushIntervalMs: number;
  readonly metricsRedisStreamKey: string;
  readonly healthCheckIntervalMs: number;
  readonly healthCheckTimeoutMs: number;
  /** Undefined leaves it to what is guarded. */
  readonly failureThreshold: number | undefined;
  readonly successThreshold: number;
  readonly timeoutMs: number;
  readonly resetTimeoutMs: number;
  readonly circuitSharing: CircuitSharing | ((circuitName: string) => CircuitSharing);
  readonly circuitQuorumWindowMs: number;
  readonly circuitSyncIntervalMs: number;
  readonly circuitPanicShare: number;
  readonly circuitParentShare: number;
  readonly circuitParentMinimum: number;
  readonly maxRetryAttempts: number;
  readonly retryBaseDelayMs: number;
  readonly retryMaxDelayMs: number;
  readonly resolveAfterMs: number;
  readonly recoveryPolicies: readonly RecoveryPolicy[];
  readonly escalateAfter: number;
  readonly approvalTimeoutMs: number;
  readonly retention: Retention;
  readonly shutdownTimeoutMs: number;
}

/**
 * Checks the options and decides every value.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID` with one line per problem
 */
export function settleOptions<Context extends object>(
  options: ParamedicOptions<Context>,
  environment: Environment,
): Settled {
  const checked = schema.safeParse(options);
  if (!checked.success) {
    const lines = checked.error.issues.map((issue) => `  ${issue.path.join(".") || "options"}: ${issue.message}`);
    throw new ParamedicError(
      "CONFIGURATION_INVALID",
      `createParamedic got options that are not usable:\n${lines.join("\n")}`,
    );
  }
  const { flags } = environment;
  const settled: Settled = {
    storeTarget: storeTargetOf(options.database ?? environment.databaseUrl),
    mode: lowerMode(options.mode ?? flags.SELF_HEALING_MODE, flags.SELF_HEALING_MODE),
    limitedServices: options.limitedServices ?? OPTION_DEFAULTS.limitedServices,
    aggregate: options.aggregate ?? environment.aggregate,
    metricsBatchSize: options.metricsBatchSize ?? flags.METRICS_BATCH_SIZE,
    metricsFlushIntervalMs: options.metricsFlushIntervalMs ?? flags.METRICS_FLUSH_INTERVAL_MS,
    metricsRedisStreamKey: options.metricsRedisStreamKey ?? flags.METRICS_REDIS_STREAM_KEY,
    healthCheckIntervalMs: options.healthCheckIntervalMs ?? flags.HEALTH_CHECK_INTERVAL_MS,
    healthCheckTimeoutMs: options.healthCheckTimeoutMs ?? flags.HEALTH_CHECK_TIMEOUT_MS,
    failureThreshold: options.failureThreshold ?? environment.failureThreshold,
    successThreshold: options.successThreshold ?? flags.CIRCUIT_BREAKER_SUCCESS_THRESHOLD,
    timeoutMs: options.timeoutMs ?? flags.CIRCUIT_BREAKER_TIMEOUT_MS,
    resetTimeoutMs: options.resetTimeoutMs ?? flags.CIRCUIT_BREAKER_RESET_TIMEOUT_MS,
    circuitSharing: options.circuitSharing ?? OPTION_DEFAULTS.circuitSharing,
    circuitQuorumWindowMs: options.circuitQuorumWindowMs ?? PERSISTENCE_DEFAULTS.quorumWindowMs,
    circuitSyncIntervalMs: options.circuitSyncIntervalMs ?? PERSISTENCE_DEFAULTS.syncIntervalMs,
    circuitPanicShare: options.circuitPanicShare ?? REGISTRY_DEFAULTS.panicShare,
    circuitParentShare: options.circuitParentShare ?? REGISTRY_DEFAULTS.parentShare,
    circuitParentMinimum: options.circuitParentMinimum ?? REGISTRY_DEFAULTS.parentMinimum,
    maxRetryAttempts: options.maxRetryAttempts ?? flags.RECOVERY_MAX_RETRY_ATTEMPTS,
    retryBaseDelayMs: options.retryBaseDelayMs ?? flags.RECOVERY_RETRY_BASE_DELAY_MS,
    retryMaxDelayMs: options.retryMaxDelayMs ?? flags.RECOVERY_RETRY_MAX_DELAY_MS,
    resolveAfterMs: options.resolveAfterMs ?? OPTION_DEFAULTS.resolveAfterMs,
    recoveryPolicies: options.recoveryPolicies ?? RECOVERY_ENGINE_DEFAULTS.policies,
    escalateAfter: options.escalateAfter ?? RECOVERY_ENGINE_DEFAULTS.escalateAfter,
    approvalTimeoutMs: options.approvalTimeoutMs ?? RECOVERY_ENGINE_DEFAULTS.approvalTimeoutMs,
    retention: Object.freeze({
      ...RETENTION_DEFAULTS,
      ...said(options.retention),
      tables: said(options.retention?.tables),
    }),
    shutdownTimeoutMs: options.shutdownTimeoutMs ?? OPTION_DEFAULTS.shutdownTimeoutMs,
  };
  if (settled.retryBaseDelayMs > settled.retryMaxDelayMs) {
    throw new ParamedicError(
      "CONFIGURATION_INVALID",
      `retryBaseDelayMs is ${settled.retryBaseDelayMs} and must be at most retryMaxDelayMs (${settled.retryMaxDelayMs})`,
    );
  }
  return Object.freeze(settled);
}

/** Without what is undefined: that leaves it to the default, like any other option. */
function said<T extends object>(options: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** Where the tables are kept. */
export type StoreTarget =
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "postgres"; readonly url: string };

/**
 * What a database URL names. A URL that names neither is told by its scheme, never by its credentials.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID`
 * @example storeTargetOf("file:./paramedic.db") // { kind: "sqlite", path: "./paramedic.db" }
 */
export function storeTargetOf(databaseUrl: string): StoreTarget {
  if (databaseUrl.startsWith("file:") && databaseUrl.length > "file:".length) {
    const path = databaseUrl.slice("file:".length);
    return { kind: "sqlite", path: path.startsWith("///") ? path.slice(2) : path };
  }
  if (/^postgres(ql)?:\/\/\S+$/.test(databaseUrl)) return { kind: "postgres", url: databaseUrl };
  const scheme = /^[a-z]+(?=:)/i.exec(databaseUrl)?.[0];
  throw new ParamedicError(
    "CONFIGURATION_INVALID",
    `the database URL has ${scheme === undefined ? "no scheme" : `the scheme ${scheme}`}: name a SQLite file or a PostgreSQL database; examples: file:./paramedic.db, postgres://user:password@127.0.0.1:5432/app`,
  );
}
