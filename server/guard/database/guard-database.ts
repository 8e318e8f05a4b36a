/** Puts a circuit, measurements and failure events in front of every statement of a Drizzle database, whatever its driver. */
import { ParamedicError } from "../../../shared/errors.js";
import { permitsOf } from "../../../shared/mode.js";
import type { CircuitBreakerRegistry } from "../../circuit/circuit-breaker-registry.js";
import type { CallContext } from "../../ports/call-context.js";
import type { MetricSink } from "../../ports/metric-sink.js";
import { type GuardPolicy, type ResolvedGuardPolicy, resolveGuardPolicy } from "../guard-policy.js";
import type { ServiceReach } from "../reach/service-reach.js";
import { createRetryBudget } from "../retry-budget.js";
import { databaseOf, type KnownDatabase } from "./known-database.js";
import type { DatabaseSystem } from "./query-name.js";
import type { RepeatDeps } from "./repeat.js";
import { createServerProbe } from "./server-probe.js";
import { ServerSeam } from "./server-seam.js";
import { letQueriesWait } from "./sqlite-drizzle.js";
import { pingSqlite, probeSqlite } from "./sqlite-probe.js";
import { SqliteSeam } from "./sqlite-seam.js";
import { StatementGuard } from "./statement-guard.js";
import { createWriteMode, WHY_READ_ONLY, type WriteMode, type WriteModeDeps } from "./write-mode.js";

export interface DatabaseGuardDeps extends RepeatDeps {
  readonly flags: RepeatDeps["flags"] & { readonly circuitBreakers: boolean };
  readonly sink: MetricSink;
  readonly callContext: CallContext;
  /** Told which procedures ask which services. */
  readonly reach: ServiceReach;
  /** Undefined while circuit breakers are switched off. */
  readonly registry: CircuitBreakerRegistry | undefined;
}

/** The options of a guard that mean something to a database. `idempotent` is about statements that lost their connection. */
export interface DatabasePolicy extends Omit<GuardPolicy, "maxConcurrent" | "maxQueued"> {
  /**
   * How long a synchronous statement of better-sqlite3 may wait for a lock, blocking the event loop; the app's own timeout
   * where that is shorter. 0 to 60,000 ms. What is awaited waits without blocking. @default 100
   */
  readonly busyTimeoutMs?: number | undefined;
}

const DEFAULT_BUSY_TIMEOUT_MS = 100;
const MAX_BUSY_TIMEOUT_MS = 60_000;

export interface GuardedDatabase {
  readonly name: string;
  /** One round trip outside of the circuit. Throws or rejects with what the database does. */
  ping(): unknown;
  /** Why it takes no writes now, in words; undefined while it does. */
  degradedBecause(): string | undefined;
  /**
   * Drops every connection made before now and asks on a new one; rejects while none can be made. Undefined where there is
   * but one connection, which nobody else can replace.
   */
  readonly reconnect: (() => Promise<void>) | undefined;
}

export interface DatabaseGuard {
  /**
   * Guards every statement of `db` from now on and gives back `db` itself: Drizzle on better-sqlite3, node-postgres,
   * postgres.js or mysql2. A statement fails fast with `CircuitBreakerError` while the circuit is open; contention and the
   * caller's own mistakes never open it, nor does a call that leaves it next to no time; on a server, a call without any gets
   * a `GuardError` (`deadline`). What is awaited is done again after contention, unless it is several statements
   * or a program, such as a `CALL`, which may have committed a part of itself; and a read after a lost connection. While the
   * database takes no writes, writes fail fast with `DatabaseError` (`read_only`) and reads go on.
   * Guarding the same database again under the same name changes nothing.
   *
   * Give Drizzle a pool: one connection alone cannot be replaced when it breaks. Statements that go past Drizzle, on
   * `db.$client`, are guarded on better-sqlite3 only.
   *
   * @param name the service: `db:main`
   * @throws ParamedicError `OPERATION_INVALID` for another driver, or a database guarded under another name;
   *   `CONFIGURATION_INVALID` for an option out of its range
   * @example const db = guardDatabase("db:main", drizzle(new Pool({ connectionString }), { schema }), { timeoutMs: 5_000 });
   */
  guardDatabase<DB extends object>(name: string, db: DB, policy?: DatabasePolicy): DB;
  databases(): readonly GuardedDatabase[];
  /** No probe of our own begins any more. */
  stop(): void;
}

export function createDatabaseGuard(deps: DatabaseGuardDeps, defaults: GuardPolicy = {}): DatabaseGuard {
  const owner = Object.freeze({});
  const guarded = new Map<string, GuardedDatabase & { readonly writes: WriteMode }>();

  return Object.freeze<DatabaseGuard>({
    guardDatabase<DB extends object>(name: string, db: DB, policy: DatabasePolicy = {}): DB {
      const known = databaseOf(db, "guardDatabase");
      if (typeof name !== "string" || name === "") {
        throw new ParamedicError("OPERATION_INVALID", 'guardDatabase: a database needs a name, such as "db:main"');
      }
      const { busyTimeoutMs = DEFAULT_BUSY_TIMEOUT_MS, ...guardPolicy } = policy;
      requireBusyTimeout(name, busyTimeoutMs);
      const resolved = resolveGuardPolicy(name, guardPolicy, defaults);
      if (!deps.flags.enabled) return db;
      const { guards } = seamOf(known);
      const before = guards.find((guard) => guard.owner === owner);
      if (before === undefined) {
        guarded.set(name, attach({ ...deps, owner }, name, known, { ...resolved, busyTimeoutMs }));
      } else if (before.service !== name) {
        throw new ParamedicError(
          "OPERATION_INVALID",
          `guardDatabase: this database is already guarded as "${before.service}", it cannot become "${name}" too`,
        );
      }
      if (known.kind === "sqlite") letQueriesWait(db);
      deps.callContext.enable();
      return db;
    },
    databases: () => [...guarded.values()],
    stop() {
      for (const { writes } of guarded.values()) writes.stop();
    },
  });
}

type Policy = ResolvedGuardPolicy & { readonly busyTimeoutMs: number };
type Deps = DatabaseGuardDeps & { readonly owner: object };

function attach(deps: Deps, name: string, known: KnownDatabase, policy: Policy) {
  switch (known.kind) {
    case "sqlite":
      return attachToSqlite(deps, name, SqliteSeam.of(known.client), policy);
    case "server":
      return attachToServer(deps, name, ServerSeam.of(known.session, known.driver), policy);
  }
}

function attachToSqlite(deps: Deps, name: string, seam: SqliteSeam, policy: Policy) {
  const { guard, writes } = makeGuard(deps, name, "sqlite", policy, async () => probeSqlite(seam));
  seam.guards.push(guard);
  seam.syncBusyMs = Math.min(seam.syncBusyMs, policy.busyTimeoutMs);
  return { name, writes, ping: () => pingSqlite(seam), degradedBecause: () => whyOf(writes), reconnect: undefined };
}

function attachToServer(deps: Deps, name: string, seam: ServerSeam, policy: Policy) {
  const { driver } = seam;
  const probe = createServerProbe(deps.clock, name, driver);
  const { guard, writes } = makeGuard(deps, name, driver.system, policy, probe.findOut);
  seam.guard(guard);
  const reconnect = driver.isPool ? probe.reconnect : undefined;
  return { name, writes, ping: probe.ping, degradedBecause: () => whyOf(writes), reconnect };
}

function makeGuard(deps: Deps, service: string, system: DatabaseSystem, policy: Policy, probe: WriteModeDeps["probe"]) {
  const { clock, journal, registry, settings, limitedServices, owner } = deps;
  const writes = createWriteMode(service, { clock, journal, probe });
  const guard = new StatementGuard(
    { owner, service, system, policy },
    {
      ...deps,
      writes,
      mayRefuse: () =>
        registry !== undefined &&
        deps.flags.circuitBreakers &&
        permitsOf(settings.mode(), service, limitedServices).circuits,
      budget: createRetryBudget(policy.retryBudget, clock.monotonic()),
    },
  );
  return { guard, writes };
}

function seamOf(known: KnownDatabase): { readonly guards: readonly StatementGuard[] } {
  return known.kind === "sqlite" ? SqliteSeam.of(known.client) : ServerSeam.of(known.session, known.driver);
}

function whyOf({ readOnly }: WriteMode): string | undefined {
  return readOnly === undefined ? undefined : `takes no writes, because ${WHY_READ_ONLY[readOnly]}; reads go on`;
}

function requireBusyTimeout(name: string, busyTimeoutMs: unknown): void {
  if (typeof busyTimeoutMs === "number" && busyTimeoutMs >= 0 && busyTimeoutMs <= MAX_BUSY_TIMEOUT_MS) return;
  throw new ParamedicError(
    "CONFIGURATION_INVALID",
    `guard "${name}": busyTimeoutMs: got ${String(busyTimeoutMs)}; legal: [0, ${MAX_BUSY_TIMEOUT_MS}]`,
  );
}
