/** Asks a server whether it lives and whether it takes writes, where it matters on a connection made now. Changes nothing. */
import { classify } from "../../../shared/classify.js";
import { readProperty } from "../../../shared/error-facts.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { Clock } from "../../ports/clock.js";
import { withDeadline } from "../deadline.js";
import type { DatabaseDriver, LentConnection } from "./database-driver.js";
import { noConnection, statementTimeout } from "./server-session.js";
import type { ReadOnlyReason, WriteFinding } from "./write-state.js";

/** How long getting a connection, and each question on it, may take. */
const ANSWER_WITHIN_MS = 5 * SECOND_MS;

const ALIVE = "select 1";

/**
 * A temporary table needs a transaction that may write, and its rows room on the disk; no other session ever sees it. Sent
 * together, they are one transaction.
 */
const WRITE_POSTGRESQL =
  "create temporary table paramedic_probe (n integer) on commit drop; insert into paramedic_probe select generate_series(1, 2000)";

/** Each says by `ON` that nobody, or nobody without special rights, may write. */
const SWITCHES_MYSQL =
  "show global variables where variable_name in ('read_only', 'super_read_only', 'innodb_read_only', 'transaction_read_only', 'tx_read_only')";

export interface ServerProbe {
  /** Rejects with what the database says, past every circuit. */
  ping(): Promise<void>;
  /** Drops every connection made before now, and asks on the new one. Rejects while none can be made. */
  reconnect(): Promise<void>;
  findOut(reason: ReadOnlyReason): Promise<WriteFinding>;
}

type Ask = (sql: string) => Promise<readonly object[]>;

export function createServerProbe(clock: Clock, service: string, driver: DatabaseDriver): ServerProbe {
  /** A connection on which something failed may be in the midst of anything: nobody gets it again. */
  const asking = async <T>(lending: Promise<LentConnection>, questions: (ask: Ask) => Promise<T>): Promise<T> => {
    const connection = await within(lending, () => noConnection(service, ANSWER_WITHIN_MS)).catch((error: unknown) => {
      lending.then(
        (late) => late.giveBack(),
        () => {},
      );
      throw error;
    });
    const ask: Ask = (sql) =>
      within(driver.ask(connection.client, sql), () => statementTimeout(service, ANSWER_WITHIN_MS));
    try {
      const value = await questions(ask);
      connection.giveBack();
      return value;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  };
  const within = <T>(work: Promise<T>, onTimeout: () => unknown) =>
    withDeadline(clock, work, { timeoutMs: ANSWER_WITHIN_MS, onTimeout });

  return {
    ping: () => asking(driver.lend(clock), async (ask) => void (await ask(ALIVE))),
    reconnect: () => asking(driver.renew(clock), async (ask) => void (await ask(ALIVE))),
    findOut: (reason) =>
      asking(driver.renew(clock), async (ask) => {
        await ask(ALIVE);
        return driver.system === "mysql" ? findOutMysql(ask, reason) : findOutPostgresql(ask, reason);
      }),
  };
}

async function findOutPostgresql(ask: Ask, reason: ReadOnlyReason): Promise<WriteFinding> {
  const [setting] = await ask("select current_setting('transaction_read_only') as read_only");
  if (readProperty(setting, "read_only") === "on") return "read_only";
  try {
    await ask(WRITE_POSTGRESQL);
    return "writable";
  } catch (error) {
    const { failureType, reason: errorClass } = classify(error, "db:probe");
    if (failureType === "database_readonly" || failureType === "disk_full") return "read_only";
    if (errorClass !== "caller_error") throw error;
    // This account may make no temporary tables: the setting is all that can be asked.
    return reason === "read_only" ? "writable" : "untold";
  }
}

async function findOutMysql(ask: Ask, reason: ReadOnlyReason): Promise<WriteFinding> {
  const switches = await ask(SWITCHES_MYSQL);
  if (switches.some((row) => /^(on|1)$/i.test(String(readProperty(row, "Value"))))) return "read_only";
  return reason === "read_only" ? "writable" : "untold";
}
