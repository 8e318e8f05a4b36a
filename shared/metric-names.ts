/** The names under which the world knows our series: OpenTelemetry's conventions, from which Prometheus's follow. */
import type { SeriesDescriptor, Tags } from "./series.js";

/** A series as an OpenTelemetry instrument with attributes. */
export interface ConventionalSeries {
  /** Dotted. */
  readonly name: string;
  /** UCUM: `s`, `By`, `%`, `1`. */
  readonly unit: string;
  /** A recorded value divided by this is in `unit`. */
  readonly divisor: number;
  readonly attributes: Tags;
  readonly help: string;
}

const RPC_DURATION = "rpc.server.call.duration";

/**
 * Procedures are OpenTelemetry's RPC calls; `error.type` is there only where a call failed. Guarded services and tracked
 * operations are families of ours with the service or the operation as an attribute; what a user records keeps its name.
 *
 * @example conventionalSeries(durationOfProcedure).name // "rpc.server.call.duration"
 */
export function conventionalSeries(descriptor: SeriesDescriptor): ConventionalSeries {
  const inSeconds = descriptor.unit === "ms";
  return {
    ...nameOf(descriptor),
    unit: inSeconds ? "s" : descriptor.unit,
    divisor: inSeconds ? 1_000 : 1,
  };
}

/** The word that a Prometheus name carries for a unit; undefined where it carries none. */
export function unitWord(unit: string): string | undefined {
  return UNIT_WORDS.get(unit);
}

const UNIT_WORDS: ReadonlyMap<string, string> = new Map([
  ["s", "seconds"],
  ["By", "bytes"],
  ["%", "percent"],
]);

type Named = Pick<ConventionalSeries, "name" | "attributes" | "help">;

function nameOf(descriptor: SeriesDescriptor): Named {
  const { metricType, metricName, source, tags } = descriptor;
  const owner = ownerOf(descriptor);
  if (metricType === "operation" && owner !== undefined) {
    const measured = metricName.slice(owner.length + 1);
    if (owner.startsWith("trpc.")) return procedureName(owner.slice("trpc.".length), measured, tags);
    if (owner.startsWith("guard.")) return serviceName(owner.slice("guard.".length), measured, tags);
    return operationName(owner, measured, tags);
  }
  const attributes = source === metricName || source === "" ? tags : { ...tags, source };
  switch (metricType) {
    case "system":
    case "health_check":
      return { name: `paramedic.${metricName}`, attributes, help: `${metricName}, as Paramedic measured it.` };
    case "operation":
    case "custom":
      return { name: metricName, attributes, help: `${metricName}, as the application recorded it.` };
  }
}

/** What a metric named `<owner>.<measured>` is of. The overflow series of a metric has lost its source, not its name. */
function ownerOf({ metricName, source, tags }: SeriesDescriptor): string | undefined {
  if (metricName.startsWith(`${source}.`)) return source;
  const end = metricName.lastIndexOf(".");
  return tags.overflow === "true" && end > 0 ? metricName.slice(0, end) : undefined;
}

function procedureName(
  path: string,
  measured: string,
  { status, error_type, error_category: _, ...tags }: Tags,
): Named {
  const outcome = status ?? "success";
  const error = error_type === undefined ? {} : { "error.type": error_type };
  switch (measured) {
    case "duration":
      return {
        name: RPC_DURATION,
        attributes: {
          "rpc.system.name": "trpc",
          "rpc.method": path,
          outcome,
          // Of a client's error the type is its tRPC code; of a server's it says what failed, and all of them are 5xx.
          ...(outcome === "client_error" && error_type !== undefined && { "rpc.status_code": error_type }),
          ...error,
          ...tags,
        },
        help: "Duration of tRPC procedure calls.",
      };
    case "success_count":
    case "failure_count":
      return {
        name: "paramedic.procedure.calls",
        attributes: { "rpc.method": path, outcome, ...error, ...tags },
        help: "Procedure calls that ended, by outcome, also those whose duration nobody saw.",
      };
    default:
      return {
        name: `paramedic.procedure.${measured}`,
        attributes: { "rpc.method": path, ...(status !== undefined && { outcome }), ...error, ...tags },
        help: `${measured} of procedures.`,
      };
  }
}

function serviceName(service: string, measured: string, tags: Tags): Named {
  return {
    name: `paramedic.service.call.${measured}`,
    attributes: { service, ...tags },
    help: `${measured} of guarded calls, by outcome.`,
  };
}

function operationName(
  operation: string,
  measured: string,
  { status, error_type, error_category: _, ...tags }: Tags,
): Named {
  const counts = measured === "success_count" || measured === "failure_count";
  const failed = measured === "failure_count" || status !== undefined;
  return {
    name: counts ? "paramedic.operation.calls" : `paramedic.operation.${measured}`,
    attributes: {
      operation,
      ...((failed || counts) && { outcome: status ?? "success" }),
      ...(error_type !== undefined && { "error.type": error_type }),
      ...tags,
    },
    help: counts ? "Tracked operations that ended, by outcome." : `${measured} of tracked operations.`,
  };
}
