/** The clinic's own environment. What Paramedic reads from it is Paramedic's affair. */
import { z } from "zod";

export interface Provider {
  readonly name: string;
  /** Ends in `/v1`. */
  readonly baseURL: string;
  readonly apiKey: string;
  readonly model: string;
}

export interface ClinicSettings {
  readonly port: number;
  readonly database: string;
  /** Off builds the same clinic as a team without Paramedic would. */
  readonly paramedic: boolean;
  /** In order of preference; the clinic without Paramedic asks the first one only. */
  readonly providers: readonly Provider[];
  readonly adminToken: string | undefined;
  /** How long a question may take in all. */
  readonly askTimeoutMs: number;
  /** How long a booking waits for a locked database in all. */
  readonly transactionTimeoutMs: number;
  /** How long SQLite itself waits for a lock; better-sqlite3's own default. */
  readonly busyTimeoutMs: number;
}

const milliseconds = (byDefault: number) => z.coerce.number().int().min(1).max(600_000).default(byDefault);

const environment = z.object({
  CLINIC_PORT: z.coerce.number().int().min(0).max(65_535).default(3_000),
  CLINIC_DATABASE: z.string().min(1).default("./clinic.db"),
  CLINIC_PARAMEDIC: z.enum(["on", "off"]).default("on"),
  CLINIC_PROVIDERS: z
    .string()
    .regex(/^[a-z0-9-]+=\S+$/, "legal: name=baseURL, several joined by commas")
    .default("openai=https://api.openai.com/v1"),
  CLINIC_API_KEY: z.string().min(1).default("no-key"),
  CLINIC_MODEL: z.string().min(1).default("gpt-4o-mini"),
  CLINIC_ADMIN_TOKEN: z.string().min(16).optional(),
  CLINIC_ASK_TIMEOUT_MS: milliseconds(8_000),
  CLINIC_TRANSACTION_TIMEOUT_MS: milliseconds(9_000),
  CLINIC_BUSY_TIMEOUT_MS: milliseconds(5_000),
});

export function readSettings(source: Readonly<Record<string, string | undefined>>): ClinicSettings {
  const values = environment.parse(source);
  return {
    port: values.CLINIC_PORT,
    database: values.CLINIC_DATABASE,
    paramedic: values.CLINIC_PARAMEDIC === "on",
    providers: values.CLINIC_PROVIDERS.split(",").map((pair) => ({
      name: pair.slice(0, pair.indexOf("=")),
      baseURL: pair.slice(pair.indexOf("=") + 1),
      apiKey: values.CLINIC_API_KEY,
      model: values.CLINIC_MODEL,
    })),
    adminToken: values.CLINIC_ADMIN_TOKEN,
    askTimeoutMs: values.CLINIC_ASK_TIMEOUT_MS,
    transactionTimeoutMs: values.CLINIC_TRANSACTION_TIMEOUT_MS,
    busyTimeoutMs: values.CLINIC_BUSY_TIMEOUT_MS,
  };
}
