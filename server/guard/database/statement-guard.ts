/** What one Paramedic does around each statement of one database: its circuit, its measurements, its failure events. */
import type { Classification } from "../../../shared/classification.js";
import { classify } from "../../../shared/classify.js";
import { databaseCodeOf } from "../../../shared/database-errors.js";
import type { Failure } from "../../../shared/failure.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { CircuitBreaker } from "../../circuit/circuit-breaker.js";
import type { CircuitBreakerRegistry } from "../../circuit/circuit-breaker-registry.js";
import type { Permit } from "../../circuit/permit.js";
import type { CallContext } from "../../ports/call-context.js";
import type { MetricSink } from "../../ports/metric-sink.js";
import { isTooShortToTell } from "../attempt-time.js";
import type { ResolvedGuardPolicy } from "../guard-policy.js";
import type { Callers, ServiceReach } from "../reach/service-reach.js";
import type { RetryBudget } from "../retry-budget.js";
import type { DatabaseSystem } from "./query-name.js";
import { mayRepeat, type RepeatDeps, repeat } from "./repeat.js";
import { isContention } from "./repeat-rule.js";
import { createStatementSeries, type KnownStatement, type StatementSeries } from "./statement-series.js";
import type { WriteMode } from "./write-mode.js";

export interface StatementWork {
  /** `part`: of a transaction that was admitted as a whole. */
  readonly kind: "statement" | "part" | "transaction";
  readonly sql: string;
  /** The circuit may refuse it. */
  readonly isGated: boolean;
  /** Whoever repeats it tells of contention, once. */
  readonly isRepeated?: boolean;
  /** Its transaction was begun to read only: then a refused write is the caller's own mistake. */
  readonly isReadOnly?: boolean;
}

/** One statement under way. Its end is told once. */
export interface StatementWatch {
  /** It has its connection; from here on it is timed, and what it waited until now is told apart. */
  connected(): void;
  succeeded(): void;
  /** @param tellsNothing it was cut short before the database could have shown that it hangs; @default it was not */
  failed(error: unknown, tellsNothing?: boolean): void;
  /** It ended in a way that says nothing about the database. */
  ignored(): void;
}

export interface StatementGuardDeps extends RepeatDeps {
  readonly sink: MetricSink;
  readonly callContext: CallContext;
  /** Told which procedures ask which services. */
  readonly reach: ServiceReach;
  /** Undefined while circuit breakers are switched off. */
  readonly registry: CircuitBreakerRegistry | undefined;
  readonly writes: WriteMode;
  /** Flags and mode let statements be refused. */
  readonly mayRefuse: () => boolean;
  readonly budget: RetryBudget;
}

export class StatementGuard {
  /** Whose guard it is; one owner guards a database once. */
  readonly owner: object;
  readonly service: string;
  readonly system: DatabaseSystem;
  readonly policy: ResolvedGuardPolicy;
  readonly deps: StatementGuardDeps;
  readonly series: StatementSeries;
  readonly #callers: Callers;

  constructor(
    target: {
      readonly owner: object;
      readonly service: string;
      readonly system: DatabaseSystem;
      readonly policy: ResolvedGuardPolicy;
    },
    deps: StatementGuardDeps,
  ) {
    this.owner = target.owner;
    this.service = target.service;
    this.system = target.system;
    this.policy = target.policy;
    this.deps = deps;
    this.#callers = deps.reach.callersOf(target.service);
    this.series = createStatementSeries(deps.sink, target.service, target.system);
    this.circuit();
  }

  /** @throws CircuitBreakerError while the circuit is open; DatabaseError for a write while none is taken */
  begin(work: StatementWork): StatementWatch {
    const { clock, writes, mayRefuse, callContext } = this.deps;
    const startedAt = clock.monotonic();
    // What is admitted with its transaction was asked with it.
    const call = work.isGated ? callContext.current() : undefined;
    if (call !== undefined) this.#callers.asked(call.path, startedAt);
    const statement = this.series.of(work.sql);
    if (writes.readOnly !== undefined && statement.name.writes && mayRefuse()) {
      const refusal = writes.refusal(startedAt);
      if (refusal !== undefined) throw refusal;
    }
    const breaker = work.isGated ? this.circuit() : undefined;
    const permit = breaker?.tryAcquire(startedAt);
    if (breaker !== undefined && permit === undefined) throw breaker.refusal(startedAt);
    return new GuardedStatement(this, work, statement, permit, startedAt);
  }

  /** An error of a statement that could not even be prepared. */
  prepareFailed(sql: string, error: unknown): void {
    this.count(this.see(sql, error), error, undefined);
  }

  /** A connection that broke while nobody used it: told, and not counted, since nobody asked for anything. */
  idleFailed(error: unknown): void {
    this.see("", error);
  }

  /** Flags and mode let work on this database be repeated. */
  get mayRepeat(): boolean {
    return mayRepeat(this.deps, this.service);
  }

  /** When the present call, or a statement that begins now, has no time left; monotonic milliseconds. */
  deadlineAt(): number {
    const { clock, callContext } = this.deps;
    const own = clock.monotonic() + this.policy.timeoutMs;
    return Math.min(own, callContext.current()?.deadlineAt ?? Number.POSITIVE_INFINITY);
  }

  /** Cut short by the present call, which left so little time that its end says more of the call than of the database. */
  isHurried(startedAt: number, deadlineAt: number): boolean {
    const isCalls = deadlineAt === this.deps.callContext.current()?.deadlineAt;
    return isCalls && isTooShortToTell(deadlineAt - startedAt, this.policy.timeoutMs);
  }

  /**
   * Runs one statement that is awaited, and again for what asks for it.
   *
   * @param sqlOf the statement's text, once it failed
   */
  repeated<T>(
    sqlOf: (error: unknown) => string,
    isPooled: boolean,
    once: (deadlineAt: number) => Promise<T>,
  ): Promise<T> {
    const { policy, service, deps } = this;
    const deadlineAt = this.deadlineAt();
    deps.budget.earn();
    return repeat(deps, {
      service,
      strategy: "statement_retry",
      system: this.system,
      sqlOf,
      deadlineAt,
      signal: deps.callContext.current()?.signal,
      budget: deps.budget,
      once: () => once(deadlineAt),
      checked: deps.writes.checked,
      failed: (error) => {
        const { name } = this.series.of(sqlOf(error));
        const { idempotent } = policy;
        return { isPooled, isHarmless: idempotent ?? name.reads, isAtomic: idempotent === true || name.isAtomic };
      },
    });
  }

  circuit(): CircuitBreaker | undefined {
    const { registry } = this.deps;
    return registry?.get(this.service) ?? registry?.getOrCreate(this.service, this.policy.circuit);
  }

  see(sql: string, error: unknown): { readonly found: Classification; readonly failure: Failure | undefined } {
    const { service, system } = this;
    const isHandled = readOnlyReasonOf(classify(error, service)) !== undefined && this.deps.mayRefuse();
    return this.deps.failures.observe(error, { service, sql, system, isHandled });
  }

  /** What takes no writes may still be read: that is the write mode's matter, everything else the circuit's. */
  count(
    { found, failure }: { readonly found: Classification; readonly failure: Failure | undefined },
    error: unknown,
    permit: Permit | undefined,
  ): void {
    const { writes, mayRefuse } = this.deps;
    const readOnly = readOnlyReasonOf(found);
    if (readOnly !== undefined && mayRefuse()) {
      writes.refused(readOnly, failure);
      permit?.ignored();
    } else if (found.verdict === "failure") {
      (permit ?? this.circuit()?.tryAcquire())?.failure({ error, failureEventId: failure?.eventId });
    } else permit?.ignored();
  }
}

class GuardedStatement implements StatementWatch {
  readonly #guard: StatementGuard;
  readonly #work: StatementWork;
  readonly #statement: KnownStatement;
  readonly #permit: Permit | undefined;
  #startedAt: number;

  constructor(
    guard: StatementGuard,
    work: StatementWork,
    statement: KnownStatement,
    permit: Permit | undefined,
    startedAt: number,
  ) {
    this.#guard = guard;
    this.#work = work;
    this.#statement = statement;
    this.#permit = permit;
    this.#startedAt = startedAt;
  }

  connected(): void {
    const now = this.#guard.deps.clock.monotonic();
    this.#guard.series.waited((now - this.#startedAt) / SECOND_MS);
    this.#startedAt = now;
  }

  succeeded(): void {
    const { deps } = this.#guard;
    const endedAt = deps.clock.monotonic();
    this.#permit?.success(endedAt);
    this.#statement.succeeded.record((endedAt - this.#startedAt) / SECOND_MS);
    if (this.#statement.name.writes) deps.writes.succeeded();
  }

  failed(error: unknown, tellsNothing = false): void {
    const { kind, sql, isRepeated, isReadOnly } = this.#work;
    const guard = this.#guard;
    // One of its statements has told of it.
    if (kind === "transaction" && guard.deps.failures.knows(error)) {
      this.ignored();
      return;
    }
    const found = classify(error, guard.service);
    const seconds = (guard.deps.clock.monotonic() - this.#startedAt) / SECOND_MS;
    guard.series.failed(this.#statement, found.reason, databaseCodeOf(error)).record(seconds);
    const isCallersOwn = isReadOnly === true && found.failureType === "database_readonly";
    if (isCallersOwn || (isRepeated === true && isContention(found))) this.#permit?.ignored();
    else if (tellsNothing) {
      guard.see(sql, error);
      this.#permit?.ignored();
    } else guard.count(guard.see(sql, error), error, this.#permit);
  }

  ignored(): void {
    this.#permit?.ignored();
  }
}

/** Begins a statement under every guard of a database; refused by one, it is begun by none. */
export function beginAll(guards: readonly StatementGuard[], work: StatementWork): StatementWatch {
  const [only, ...more] = guards;
  if (only === undefined) return UNWATCHED;
  if (more.length === 0) return only.begin(work);
  const watches: StatementWatch[] = [];
  try {
    for (const guard of guards) watches.push(guard.begin(work));
  } catch (refusal) {
    for (const watch of watches) watch.ignored();
    throw refusal;
  }
  return {
    connected: () => forEach(watches, (watch) => watch.connected()),
    succeeded: () => forEach(watches, (watch) => watch.succeeded()),
    failed: (error, tellsNothing) => forEach(watches, (watch) => watch.failed(error, tellsNothing)),
    ignored: () => forEach(watches, (watch) => watch.ignored()),
  };
}

const UNWATCHED: StatementWatch = Object.freeze({ connected() {}, succeeded() {}, failed() {}, ignored() {} });

function forEach(watches: readonly StatementWatch[], tell: (watch: StatementWatch) => void): void {
  for (const watch of watches) tell(watch);
}

/** Why a refused write was refused, where that concerns all writes. */
function readOnlyReasonOf({ failureType }: Classification): "read_only" | "disk_full" | undefined {
  if (failureType === "database_readonly") return "read_only";
  return failureType === "disk_full" ? "disk_full" : undefined;
}
