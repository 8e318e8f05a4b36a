/**
 * Runs writes as transactions, one after another for each lane, here and over all instances: the lane's advisory lock is held
 * until the commit, so what a transaction has read stays true while it folds. Lanes do not wait for each other.
 */
import type pg from "pg";
import { ParamedicError } from "../../../shared/errors.js";
import { type Clock, delay } from "../../ports/clock.js";
import { onLiveSession } from "./live-session.js";
import { type Db, drizzleOf } from "./postgres-connection.js";
import { isWorthRepeating, leavesConnectionUsable } from "./postgres-errors.js";

/** `story` is failures, recoveries and circuits, which name each other. */
export type Lane = "rollups" | "story" | "audit";

/** Numbers of advisory locks, shared with everybody in the same database: ours begin with "para" in ASCII. */
const LOCK_SPACE = 0x70617261;
const LOCKS: Readonly<Record<Lane | "migrations", number>> = { migrations: 0, rollups: 1, story: 2, audit: 3 };

/** Waits for the lock until the transaction ends; `lock_timeout` bounds the wait. */
export function lockStatement(lock: keyof typeof LOCKS): string {
  return `select pg_advisory_xact_lock(${LOCK_SPACE}, ${LOCKS[lock]})`;
}

/** Back to the pool only where it can be used again. */
async function releaseAfter(error: unknown, client: pg.PoolClient): Promise<void> {
  const usable =
    leavesConnectionUsable(error) &&
    (await client.query("rollback").then(
      () => true,
      () => false,
    ));
  client.release(!usable);
}

function beginOn(pool: pg.Pool, begin: string): Promise<pg.PoolClient> {
  return onLiveSession(async () => {
    const client = await pool.connect();
    try {
      await client.query(begin);
      return client;
    } catch (error) {
      await releaseAfter(error, client);
      throw error;
    }
  });
}

/** One transaction on a connection of its own. */
async function inTransaction<T>(pool: pg.Pool, begin: string, work: (db: Db) => Promise<T>): Promise<T> {
  const client = await beginOn(pool, begin);
  try {
    const result = await work(drizzleOf(client));
    await client.query("commit");
    client.release();
    return result;
  } catch (error) {
    await releaseAfter(error, client);
    throw error;
  }
}

/** Reads of several statements that see the database as it is at the first of them. */
export type Snapshot = <T>(work: (db: Db) => Promise<T>) => Promise<T>;

export function createSnapshot(pool: pg.Pool): Snapshot {
  return (work) => inTransaction(pool, "begin isolation level repeatable read read only", work);
}

export interface WriteTransactions {
  /**
   * @param rolledBack told whenever what `work` did is void, before it is repeated
   * @throws what `work` or the driver throws; nothing of it is kept then
   */
  run<T>(lane: Lane, work: (db: Db) => Promise<T>, rolledBack?: () => void): Promise<T>;
  /** Once everything that waits is done. */
  settled(): Promise<void>;
}

export interface WriteTransactionOptions {
  /** Writes of one lane that may wait for their turn; one more is refused at once. */
  readonly maxWaiting: number;
  /** How long one may wait for its turn. */
  readonly turnTimeoutMs: number;
}

const MOST_ATTEMPTS = 4;
const REPEAT_DELAY_MS = 10;

export function createWriteTransactions(
  { pool, clock }: { readonly pool: pg.Pool; readonly clock: Clock },
  { maxWaiting, turnTimeoutMs }: WriteTransactionOptions,
): WriteTransactions {
  const tails = new Map<Lane, Promise<unknown>>();
  const waiting = new Map<Lane, number>();

  const repeatedly = async <T>(lane: Lane, work: (db: Db) => Promise<T>, rolledBack?: () => void): Promise<T> => {
    for (let attempts = 1; ; attempts += 1) {
      try {
        return await inTransaction(pool, `begin; ${lockStatement(lane)}`, work);
      } catch (error) {
        rolledBack?.();
        if (attempts >= MOST_ATTEMPTS || !isWorthRepeating(error)) throw error;
        if (attempts > 1) await delay(clock, attempts * REPEAT_DELAY_MS);
      }
    }
  };

  return {
    run(lane, work, rolledBack) {
      const ahead = waiting.get(lane) ?? 0;
      if (ahead >= maxWaiting) {
        return Promise.reject(new ParamedicError("STORE_UNAVAILABLE", `${ahead} writes already wait for the database`));
      }
      waiting.set(lane, ahead + 1);
      const until = clock.monotonic() + turnTimeoutMs;
      const turn = (tails.get(lane) ?? Promise.resolve()).then(() => {
        waiting.set(lane, (waiting.get(lane) ?? 1) - 1);
        if (clock.monotonic() <= until) return repeatedly(lane, work, rolledBack);
        throw new ParamedicError(
          "STORE_UNAVAILABLE",
          `a write waited ${turnTimeoutMs} ms for its turn at the database; it was not begun`,
        );
      });
      tails.set(
        lane,
        turn.catch(() => undefined),
      );
      return turn;
    },
    async settled() {
      await Promise.all(tails.values());
    },
  };
}
