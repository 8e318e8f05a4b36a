/** The public door: what `createParamedic()` gives. */
import type { FeatureFlags } from "../shared/feature-flags.js";
import type { Accounting } from "../shared/series.js";
import type { createHealthProcedure } from "./api/health-procedure.js";
import type { HttpHandler } from "./api/http-handler.js";
import type { ParamedicRouter } from "./api/router.js";
import type { CircuitBreakerRegistry } from "./circuit/circuit-breaker-registry.js";
import type { DatabasePolicy } from "./guard/database/guard-database.js";
import type { Transaction } from "./guard/database/transaction.js";
import type { Guards } from "./guard/guards.js";
import type { GuardFetchOptions } from "./guard/llm/guard-fetch.js";
import type { Llm, LlmOptions } from "./guard/llm/llm.js";
import type { Fetch } from "./guard/llm/reveal-failures.js";
import type { HealthCheckRegistry } from "./health/health-check-registry.js";
import type { InstrumentRouter } from "./instrumentation/instrument-router.js";
import type { Middleware } from "./instrumentation/middleware.js";
import type { OnError } from "./instrumentation/on-error.js";
import type { Settled } from "./options.js";
import type { MetricSink } from "./ports/metric-sink.js";
import type { Store } from "./ports/store.js";
import type { HealReport } from "./ports/watchdog.js";
import type { Feature, FeatureOptions } from "./recovery/features.js";
import type { LastGood, LastGoodOptions } from "./recovery/last-good.js";
import type { Reconnectable } from "./recovery/reconnect-strategy.js";
import type { RecoveryEngine } from "./recovery/recovery-engine.js";
import type { HealableMachine } from "./recovery/state-machine-strategy.js";
import type { Readiness } from "./store-opening.js";
import type { Tasks } from "./watchdog/tasks.js";

export interface ExpressOptions {
  /**
   * Who may read `/metrics`, and messages and metadata in `/health`. `token`: whoever sends the read or the operator's
   * token; while neither is set, `/metrics` is left to the app. `loopback`: also requests of this machine, while no read
   * token is set; not behind a proxy on this machine that hides where requests come from. @default "token"
   */
  readonly metricsFor?: "token" | "loopback" | undefined;
}

/** @see createParamedic */
export interface Paramedic<Context extends object = object> {
  /** After the first attempt to open the store and to restore the circuits. Awaiting it is optional; it never rejects. */
  readonly ready: Promise<Readiness>;
  /** `t.procedure.use(paramedic.middleware())`: sees every call, changes none. */
  middleware(): Middleware;
  /**
   * `export const appRouter = paramedic.instrument(t.router({ … }))`: what the middleware measures, for every procedure of a
   * router that does not have it, lazy routers included, at a fraction of what any `.use()` costs. Also sees refused input.
   */
  readonly instrument: InstrumentRouter;
  /** For the adapter's `onError`: sees what no middleware does. */
  readonly onError: OnError;
  /** `app.use(paramedic.express())`: /livez /readyz /health, and /metrics once a token says who may read it. */
  express(options?: ExpressOptions): HttpHandler;
  /** Nests in the host app's router; denied to all that `authorize` does not let in. */
  readonly router: ParamedicRouter;
  readonly healthProcedure: ReturnType<typeof createHealthProcedure>;
  readonly guard: Guards["guard"];
  readonly operation: Guards["operation"];
  readonly run: Guards["run"];
  /** OpenAI-compatible providers in order of preference; needs the `openai` package. */
  llm(options: LlmOptions): Llm;
  /** A guarded `fetch` for a client of your own: `new Anthropic({ fetch: paramedic.guardFetch("llm:anthropic"), maxRetries: 0 })`. */
  guardFetch(service: string, fetch?: Fetch, options?: GuardFetchOptions): Fetch;
  /** Guards a Drizzle database on better-sqlite3, node-postgres, postgres.js or mysql2; gives back what it got. */
  guardDatabase<Db extends object>(name: string, db: Db, policy?: DatabasePolicy): Db;
  readonly transaction: Transaction;
  /**
   * A part of the app that is switched off while a service that it depends on is away:
   * `if (paramedic.feature("recommendations", { dependsOn: ["llm:*"] }).isOn()) …`
   */
  feature(name: string, options: FeatureOptions): Feature;
  /**
   * Remembers an operation's answers to fall back on: at most 1,000 and 50 MB of all operations together, for 5 minutes.
   *
   * @throws ParamedicError `CONFIGURATION_INVALID` for a time out of its range
   */
  lastGood<Args extends readonly unknown[], T>(operation: string, options?: LastGoodOptions): LastGood<Args, T>;
  /**
   * Has a state machine of the app's put back into its safe state and started anew when its service fails.
   *
   * @throws ParamedicError `STRATEGY_INVALID` for a state that is none of its states
   */
  stateMachine<State extends string>(name: string, machine: HealableMachine<State>): void;
  /** Has the connections of a guarded service, such as `redis:cache`, replaced when they are lost. */
  reconnectable(service: string, connection: Reconnectable): void;
  readonly metrics: MetricSink & { accounting(): Promise<Accounting> };
  readonly health: HealthCheckRegistry;
  readonly circuits: CircuitBreakerRegistry;
  readonly recovery: RecoveryEngine;
  /** Work under watch: a run that was not heard of for an hour is reset under a fencing token. */
  readonly tasks: Tasks;
  /**
   * Runs every check, resets stuck tasks, and repairs each part that fails, within what mode and stop allow. At start the same
   * happens by itself.
   */
  healEverything(): Promise<HealReport>;
  readonly store: Store;
  readonly options: Settled & { readonly instance: string; readonly flags: FeatureFlags };
  /** Faults of our own, by part. */
  faults(): Readonly<Record<string, number>>;
  /** Flushes, then closes, within `shutdownTimeoutMs`. Never rejects; calling it twice is once. */
  shutdown(): Promise<void>;
  /** Only for inference. */
  readonly _context?: Context;
}
