/** The example clinic as its own process, with its providers, for tests that talk to it as users do. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTRPCClient, httpBatchLink } from "@trpc/client";
import Database from "better-sqlite3";
import superjson from "superjson";
import type { ClinicReady } from "../../examples/clinic/main.js";
import type { createClinic } from "../../examples/clinic/with-paramedic.js";
import { type Child, startChild } from "../../examples/demo/child.js";
import type { LockerOrder } from "../../examples/demo/locker.js";
import type { Behaviour, ProviderStatus } from "../../examples/providers/behaviour.js";
import type { ProvidersReady } from "../../examples/providers/main.js";

export type ClinicAppRouter = ReturnType<typeof createClinic>["appRouter"];
export type ProviderName = "anthropic" | "openai" | "deepseek";

const ADMIN_TOKEN = "only-for-tests-0123456789";

const QUICK_SETTINGS = {
  // A Redis that somebody's shell names is not for these tests.
  REDIS_URL: undefined,
  PARAMEDIC_REDIS_URL: undefined,
  METRICS_FLUSH_INTERVAL_MS: "100",
  HEALTH_CHECK_INTERVAL_MS: "300",
  // Long for an answer of some milliseconds: a busy machine must not send a question to the next provider.
  CIRCUIT_BREAKER_TIMEOUT_MS: "3000",
  CIRCUIT_BREAKER_RESET_TIMEOUT_MS: "700",
  RECOVERY_RETRY_BASE_DELAY_MS: "20",
  RECOVERY_RETRY_MAX_DELAY_MS: "200",
  CLINIC_ASK_TIMEOUT_MS: "12000",
  CLINIC_TRANSACTION_TIMEOUT_MS: "40000",
  CLINIC_BUSY_TIMEOUT_MS: "300",
  CLINIC_ADMIN_TOKEN: ADMIN_TOKEN,
} as const;

export const QUICK: Behaviour = { kind: "healthy", minMs: 0, maxMs: 5 };

export interface ClinicFixture {
  readonly folder: string;
  readonly url: () => string;
  readonly client: (options?: { admin?: boolean }) => ReturnType<typeof createTRPCClient<ClinicAppRouter>>;
  /** Providers not named are healthy. */
  readonly behave: (broken?: Partial<Record<ProviderName, Behaviour>>) => Promise<void>;
  /** Requests that reached a provider so far. */
  readonly requestsTo: (name: ProviderName) => Promise<number>;
  /** Reads Paramedic's rows. */
  readonly rows: (sql: string, ...parameters: unknown[]) => Record<string, unknown>[];
  /** Another process holds the clinic's database until the promise's function is called. */
  readonly lockDatabase: () => Promise<() => Promise<void>>;
  /** Asks it to end, as a deployment does. */
  readonly closeClinic: () => Promise<void>;
  readonly killClinic: () => Promise<void>;
  readonly restartClinic: () => Promise<void>;
  readonly end: () => Promise<void>;
}

export async function startClinicFixture(
  options: { paramedic?: "on" | "off"; env?: Readonly<Record<string, string>> } = {},
): Promise<ClinicFixture> {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-clinic-"));
  const database = join(folder, "clinic.db");
  const started: Child<unknown>[] = [];
  const providers = await startChild<ProvidersReady>({ script: "providers/main.ts" });
  started.push(providers);

  const control = async (body?: object): Promise<Record<string, ProviderStatus>> => {
    const response = await fetch(
      providers.ready.controlURL,
      body === undefined ? {} : { method: "POST", body: JSON.stringify(body) },
    );
    if (!response.ok) throw new Error(await response.text());
    return (await response.json()) as Record<string, ProviderStatus>;
  };
  const behave: ClinicFixture["behave"] = async (broken = {}) => {
    await control({ anthropic: QUICK, openai: QUICK, deepseek: QUICK, ...broken });
  };
  const startClinic = async () => {
    const child = await startChild<ClinicReady>({
      script: "clinic/main.ts",
      logFile: join(folder, "clinic.log"),
      env: {
        ...QUICK_SETTINGS,
        PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}`,
        CLINIC_PORT: "0",
        CLINIC_DATABASE: database,
        CLINIC_PARAMEDIC: options.paramedic ?? "on",
        CLINIC_PROVIDERS: providers.ready.providers.map(({ name, baseURL }) => `${name}=${baseURL}`).join(","),
        ...options.env,
      },
    });
    started.push(child);
    return child;
  };
  await behave();
  let clinic = await startClinic();

  return {
    folder,
    url: () => clinic.ready.url,
    client: ({ admin = false } = {}) =>
      createTRPCClient<ClinicAppRouter>({
        links: [
          httpBatchLink({
            url: `${clinic.ready.url}/trpc`,
            transformer: superjson,
            headers: admin ? { authorization: `Bearer ${ADMIN_TOKEN}` } : {},
          }),
        ],
      }),
    behave,
    requestsTo: async (name) => (await control())[name]?.requests ?? 0,
    rows(sql, ...parameters) {
      const sqlite = new Database(join(folder, "paramedic.db"), { readonly: true, timeout: 5_000 });
      try {
        return sqlite.prepare<unknown[], Record<string, unknown>>(sql).all(...parameters);
      } finally {
        sqlite.close();
      }
    },
    async lockDatabase() {
      const locker = await startChild({ script: "demo/locker.ts", args: [database] });
      started.push(locker);
      const probe = new Database(database, { timeout: 0 });
      locker.send({ hold: { holdMs: 60_000, freeMs: 60_000 } } satisfies LockerOrder);
      try {
        while (!isLocked(probe)) await new Promise((resolve) => setImmediate(resolve));
      } finally {
        probe.close();
      }
      return () => locker.stop();
    },
    closeClinic: () => clinic.stop(),
    killClinic: () => clinic.kill(),
    async restartClinic() {
      clinic = await startClinic();
    },
    async end() {
      await Promise.all(started.map((child) => child.stop()));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function isLocked(probe: Database.Database): boolean {
  try {
    probe.exec("BEGIN IMMEDIATE; COMMIT");
    return false;
  } catch {
    return true;
  }
}
