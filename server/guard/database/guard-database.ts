/** Puts a circuit, measurements and failure events in front of every statement of a Drizzle database on better-sqlite3. */
import { classify } from "../../../shared/classify.js";
import { ParamedicError } from "../../../shared/errors.js";
import type { Failure } from "../../../shared/failure.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { CircuitBreaker } from "../../circuit/circuit-breaker.js";
import type { CircuitBreakerRegistry } from "../../circuit/circuit-breaker-registry.js";
import type { Permit } from "../../circuit/permit.js";
import type { MetricSink, SeriesHandle } from "../../ports/metric-sink.js";
import { type GuardPolicy, type ResolvedGuardPolicy, resolveGuardPolicy } from "../guard-policy.js";
import { type DatabaseFailures, type DatabaseFailuresDeps, isContention } from "./database-failures.js";
import { nameQuery, type QueryName } from "./query-name.js";
import { letQueriesWait, requireClient } from "./sqlite-drizzle.js";
import { DatabaseSeam, type StatementGuard } from "./sqlite-seam.js";

export interface DatabaseGuardDeps extends DatabaseFailuresDeps {
  readonly sink: MetricSink;
  /** Undefined while circuit breakers are switched off. */
  readonly registry: CircuitBreakerRegistry | undefined;
  readonly failures: DatabaseFailures;
  /** Off: databases stay as they are. @default true */
  readonly enabled?: boolean | undefined;
}

/** The options of a guard that mean something to a synchronous database: those of its circuit. */
export type DatabasePolicy = Omit<GuardPolicy, "idempotent" | "maxConcurrent" | "maxQueued" | "retryBudget">;

export interface GuardedDatabase {
  readonly name: string;
  /** One round trip outside of the circuit; milliseconds. Throws what the database does. */
  ping(): number;
}

export interface DatabaseGuard {
  /**
   * Guards every statement of `db` from now on and gives back `db` itself. A statement fails fast with
   * `CircuitBreakerError` while the circuit is open; contention and the caller's own mistakes never open it. Guarding the
   * same database again under the same name changes nothing.
   *
   * @param name the service: `db:main`
   * @throws ParamedicError `OPERATION_INVALID` for another driver, or a database guarded under another name.
   * @example const db = guardDatabase("db:main", drizzle(new Database("app.db"), { schema }));
   */
  guardDatabase<DB extends object>(name: string, db: DB, policy?: DatabasePolicy): DB;
  databases(): readonly GuardedDatabase[];
}

/** Queries whose series are kept at hand; the collector bounds the series themselves. */
const MAX_KNOWN_QUERIES = 500;

export function createDatabaseGuard(deps: DatabaseGuardDeps, defaults: GuardPolicy = {}): DatabaseGuard {
  const owner = Object.freeze({});
  const guarded = new Map<string, GuardedDatabase>();

  return Object.freeze({
    guardDatabase<DB extends object>(name: string, db: DB, policy: DatabasePolicy = {}): DB {
      const client = requireClient(db, "guardDatabase");
      if (typeof name !== "string" || name === "") {
        throw new ParamedicError("OPERATION_INVALID", 'guardDatabase: a database needs a name, such as "db:main"');
      }
      const resolved = resolveGuardPolicy(name, policy, defaults);
      if (deps.enabled === false) return db;
      const seam = DatabaseSeam.of(client);
      const before = seam.guards.find((guard) => guard.owner === owner);
      if (before === undefined) {
        seam.guards.push(makeStatementGuard(deps, owner, name, resolved));
        guarded.set(name, { name, ping: () => ping(deps, seam) });
      } else if (before.service !== name) {
        throw new ParamedicError(
          "OPERATION_INVALID",
          `guardDatabase: this database is already guarded as "${before.service}", it cannot become "${name}" too`,
        );
      }
      letQueriesWait(db);
      deps.callContext.enable();
      return db;
    },
    databases: () => [...guarded.values()],
  });
}

function ping({ clock }: DatabaseGuardDeps, { client, isHeld }: DatabaseSeam): number {
  const startedAt = clock.monotonic();
  // While a transaction holds the connection, its statements are the proof of life.
  if (!isHeld) client.pragma("schema_version");
  return clock.monotonic() - startedAt;
}

function makeStatementGuard(
  deps: DatabaseGuardDeps,
  owner: object,
  service: string,
  policy: ResolvedGuardPolicy,
): StatementGuard {
  const { clock, registry, failures } = deps;
  const circuit = (): CircuitBreaker | undefined =>
    registry?.get(service) ?? registry?.getOrCreate(service, policy.circuit);
  const durationsOf = createQueryDurations(deps.sink, service);
  circuit();

  return {
    owner,
    service,
    timeoutMs: policy.timeoutMs,
    run({ kind, sql, gated }, execute) {
      const breaker = gated ? circuit() : undefined;
      const startedAt = clock.monotonic();
      const permit = breaker?.tryAcquire(startedAt);
      if (breaker !== undefined && permit === undefined) throw breaker.refusal(startedAt);
      try {
        const result = execute();
        const endedAt = clock.monotonic();
        permit?.success(endedAt);
        durationsOf(sql).record((endedAt - startedAt) / SECOND_MS);
        return result;
      } catch (error) {
        // Inside a transaction the user's own errors pass by, and its statements have told of theirs.
        const passesBy = kind === "transaction" && (failures.knows(error) || !isDriverError(error));
        const found = classify(error, service);
        if (!passesBy) durationsOf(sql, found.reason).record((clock.monotonic() - startedAt) / SECOND_MS);
        const isTold = passesBy || (kind === "part" && isContention(found));
        const failure = isTold ? undefined : failures.observe(error, service, sql).failure;
        if (!passesBy && found.verdict === "failure") fail(permit ?? circuit()?.tryAcquire(), error, failure);
        else permit?.ignored();
        throw error;
      }
    },
    prepareFailed(sql, error) {
      const { found, failure } = failures.observe(error, service, sql);
      if (found.verdict === "failure") fail(circuit()?.tryAcquire(), error, failure);
    },
  };
}

function fail(permit: Permit | undefined, error: unknown, failure: Failure | undefined): void {
  permit?.failure({ error, failureEventId: failure?.eventId });
}

function isDriverError(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && typeof error.code === "string" && error.code.startsWith("SQLITE_")
  );
}

function createQueryDurations(sink: MetricSink, service: string): (sql: string, errorType?: string) => SeriesHandle {
  const known = new Map<string, SeriesHandle>();

  return (sql, errorType) => {
    if (errorType !== undefined) return seriesOf(nameQuery(sql), errorType);
    const found = known.get(sql);
    if (found !== undefined) return found;
    const made = seriesOf(nameQuery(sql));
    if (known.size >= MAX_KNOWN_QUERIES) known.clear();
    known.set(sql, made);
    return made;
  };

  function seriesOf({ operation, fingerprint }: QueryName, errorType?: string): SeriesHandle {
    return sink.series({
      metricType: "operation",
      metricName: "db.client.operation.duration",
      kind: "histogram",
      unit: "s",
      source: service,
      tags: {
        "db.system.name": "sqlite",
        "db.operation.name": operation,
        "db.query.fingerprint": fingerprint,
        ...(errorType !== undefined && { "error.type": errorType }),
      },
    });
  }
}
