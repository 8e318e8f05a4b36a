/** The only reader of `process.env`; `.env.example` mirrors it. Parses strictly and reports every problem at once. */
import { ParamedicError } from "../shared/errors.js";
import { type FeatureFlags, parseFeatureFlags, SELF_HEALING_FEATURE_FLAGS } from "../shared/feature-flags.js";
import { parseVariables, unknownVariables, type VariableSource, type VariableSpec } from "../shared/variables.js";

const DATABASE_URL = {
  kind: "text",
  default: undefined,
  pattern: /^(file:\S.*|postgres(ql)?:\/\/\S+)$/,
  legal: "file:<path>, a SQLite file, or postgres://…, a PostgreSQL database",
  example: "file:./paramedic.db",
  secret: true,
} as const;
const REDIS_URL = {
  kind: "text",
  default: undefined,
  pattern: /^(rediss?:\/\/\S+|unix:\/\S+)$/,
  legal: "redis://… or rediss://… (TLS)",
  example: "redis://127.0.0.1:6379",
  secret: true,
} as const;
const TOKEN = {
  kind: "text",
  default: undefined,
  pattern: /^[\x21-\x7e]{32,512}$/,
  legal: "32 to 512 printable characters without spaces",
  example: "$(openssl rand -hex 32)",
  secret: true,
} as const;

/** Where things are and who may see them. */
export const PLACE_VARIABLES = {
  PARAMEDIC_DATABASE_URL: {
    ...DATABASE_URL,
    about: "Where Paramedic keeps its tables; file:./paramedic.db by default.",
  },
  PARAMEDIC_REDIS_URL: { ...REDIS_URL, about: "Redis for the metrics stream; without it REDIS_URL, else in-process." },
  REDIS_URL: { ...REDIS_URL, about: "Read where PARAMEDIC_REDIS_URL is unset." },
  PARAMEDIC_READ_TOKEN: { ...TOKEN, about: "Bearer token that may read." },
  PARAMEDIC_OPERATOR_TOKEN: { ...TOKEN, about: "Bearer token that may read and operate." },
  PARAMEDIC_INSTANCE: {
    kind: "text",
    default: undefined,
    pattern: /^[A-Za-z0-9._-]{1,100}$/,
    legal: "1 to 100 of A-Z a-z 0-9 . _ -",
    example: "web-1",
    about: "This process's name; host and process id by default.",
  },
  PARAMEDIC_AGGREGATE: {
    kind: "boolean",
    default: true,
    about: "Takes part in aggregation; without Redis it always does.",
  },
} as const satisfies Record<string, VariableSpec>;

/** Read by the standalone backend alone. */
export const BACKEND_VARIABLES = {
  HOST: {
    kind: "text",
    default: "127.0.0.1",
    pattern: /^[A-Za-z0-9.:_-]{1,255}$/,
    legal: "a host name or address",
    example: "127.0.0.1",
    about: "Where the standalone backend listens; beyond loopback it needs both tokens.",
  },
  PORT: { kind: "integer", default: 3_000, min: 0, max: 65_535, about: "Its port; 0 takes a free one." },
  DATABASE_URL: {
    ...DATABASE_URL,
    about: "Read where PARAMEDIC_DATABASE_URL is unset, by the standalone backend only.",
  },
} as const satisfies Record<string, VariableSpec>;

export const DEFAULT_DATABASE_URL = "file:./paramedic.db";

/** What the environment says, parsed. */
export interface Environment {
  readonly flags: FeatureFlags;
  /** `CIRCUIT_BREAKER_FAILURE_THRESHOLD` where it is set; undefined leaves it to what is guarded. */
  readonly failureThreshold: number | undefined;
  readonly databaseUrl: string;
  readonly redisUrl: string | undefined;
  readonly readToken: string | undefined;
  readonly operatorToken: string | undefined;
  readonly instance: string | undefined;
  readonly aggregate: boolean;
}

/**
 * @throws ParamedicError `CONFIGURATION_INVALID` with one line per problem, secrets masked.
 * @example readEnvironment().flags.SELF_HEALING_MODE // "full"
 */
export function readEnvironment(source: VariableSource = process.env): Environment {
  const { environment, problems } = problemsOf(source);
  refuse(problems);
  return environment;
}

/** Adds what only the standalone backend reads. @throws like `readEnvironment` */
export function readBackendEnvironment(
  source: VariableSource = process.env,
): Environment & { readonly host: string; readonly port: number } {
  const library = problemsOf(source);
  const backend = parseVariables(BACKEND_VARIABLES, source);
  refuse([...library.problems, ...backend.problems]);
  const own = source.PARAMEDIC_DATABASE_URL === undefined ? backend.values.DATABASE_URL : undefined;
  return Object.freeze({
    ...library.environment,
    databaseUrl: own ?? library.environment.databaseUrl,
    host: backend.values.HOST,
    port: backend.values.PORT,
  });
}

function problemsOf(source: VariableSource): {
  readonly environment: Environment;
  readonly problems: readonly string[];
} {
  const flags = parseFeatureFlags(source);
  const places = parseVariables(PLACE_VARIABLES, source);
  const known = [...Object.keys(SELF_HEALING_FEATURE_FLAGS), ...Object.keys(PLACE_VARIABLES)];
  const { values } = places;
  return {
    environment: Object.freeze({
      flags: flags.values,
      failureThreshold:
        source.CIRCUIT_BREAKER_FAILURE_THRESHOLD === undefined
          ? undefined
          : flags.values.CIRCUIT_BREAKER_FAILURE_THRESHOLD,
      databaseUrl: values.PARAMEDIC_DATABASE_URL ?? DEFAULT_DATABASE_URL,
      redisUrl: values.PARAMEDIC_REDIS_URL ?? values.REDIS_URL,
      readToken: values.PARAMEDIC_READ_TOKEN,
      operatorToken: values.PARAMEDIC_OPERATOR_TOKEN,
      instance: values.PARAMEDIC_INSTANCE,
      aggregate: values.PARAMEDIC_AGGREGATE,
    }),
    problems: [
      ...flags.problems,
      ...places.problems,
      ...unknownVariables(known, ["PARAMEDIC_", "SELF_HEALING_"], source),
    ],
  };
}

function refuse(problems: readonly string[]): void {
  if (problems.length === 0) return;
  const lines = problems.map((problem) => `  ${problem}`).join("\n");
  throw new ParamedicError(
    "CONFIGURATION_INVALID",
    `the environment is not usable (${problems.length} problem${problems.length === 1 ? "" : "s"}):\n${lines}`,
  );
}
