/** Database guards and transactions of one Paramedic, which write down each error once between them. */
import type { CircuitBreakerRegistry } from "../../circuit/circuit-breaker-registry.js";
import type { Ids } from "../../ports/ids.js";
import type { MetricSink } from "../../ports/metric-sink.js";
import type { GuardPolicy } from "../guard-policy.js";
import { ServiceReach } from "../reach/service-reach.js";
import { createDatabaseFailures } from "./database-failures.js";
import { createDatabaseGuard, type DatabaseGuard } from "./guard-database.js";
import { createTransaction, type Transaction, type TransactionDeps } from "./transaction.js";

export interface DatabaseGuardsDeps extends Omit<TransactionDeps, "failures" | "flags"> {
  readonly ids: Ids;
  readonly sink: MetricSink;
  /** Told which procedures ask which services. @default one of its own */
  readonly reach?: ServiceReach | undefined;
  readonly registry: CircuitBreakerRegistry;
  readonly flags: TransactionDeps["flags"] & { readonly circuitBreakers: boolean };
}

export interface DatabaseGuards extends DatabaseGuard {
  readonly transaction: Transaction;
}

/**
 * @example
 * const { guardDatabase, transaction } = createDatabaseGuards(deps, { timeoutMs: 5_000 });
 * const db = guardDatabase("db:main", drizzle(new Database("app.db")));
 */
export function createDatabaseGuards(deps: DatabaseGuardsDeps, defaults: GuardPolicy = {}): DatabaseGuards {
  const failures = createDatabaseFailures(deps);
  const registry = deps.flags.circuitBreakers ? deps.registry : undefined;
  const { reach = new ServiceReach() } = deps;
  const guards = createDatabaseGuard({ ...deps, registry, failures, reach }, defaults);
  return Object.freeze({ ...guards, transaction: createTransaction({ ...deps, failures }) });
}
