/** The series of one database's statements under OpenTelemetry's names: bounded, and without anything that a user gave. */
import type { Tags } from "../../../shared/series.js";
import type { MetricSink, SeriesHandle } from "../../ports/metric-sink.js";
import { type DatabaseSystem, nameQuery, type QueryName } from "./query-name.js";

/** What is known of one statement's text. */
export interface KnownStatement {
  readonly name: QueryName;
  /** Seconds of those that succeeded. */
  readonly succeeded: SeriesHandle;
}

export interface StatementSeries {
  of(sql: string): KnownStatement;
  /** Seconds of those that failed with `errorClass`, and the database's own code for it. */
  failed(statement: KnownStatement, errorClass: string, statusCode: string | undefined): SeriesHandle;
  /** A statement had to wait this many seconds for a connection of the pool. */
  waited(seconds: number): void;
}

/** Statements of one database that have series of their own; all others share one for each operation. */
const MAX_STATEMENTS = 200;
const OTHER = "_OTHER";

/** Texts whose series are kept at hand; they carry no values. */
const MAX_TEXTS = 1_000;

export function createStatementSeries(sink: MetricSink, service: string, system: DatabaseSystem): StatementSeries {
  const fingerprints = new Set<string>();
  const known = new Map<string, KnownStatement>();
  let waits: SeriesHandle | undefined;
  const histogram = (metricName: string, tags: Tags) =>
    sink.series({
      metricType: "operation",
      metricName,
      kind: "histogram",
      unit: "s",
      source: service,
      tags: { "db.system.name": system, ...tags },
    });
  const durations = (name: QueryName, more: Tags = {}) =>
    histogram("db.client.operation.duration", { ...tagsOf(name), ...more });

  const tagsOf = ({ operation, summary, fingerprint }: QueryName): Tags => {
    const isKnown = fingerprints.has(fingerprint) || fingerprints.size < MAX_STATEMENTS;
    if (isKnown) fingerprints.add(fingerprint);
    return {
      "db.operation.name": operation,
      "db.query.summary": isKnown ? summary : operation,
      "db.query.fingerprint": isKnown ? fingerprint : OTHER,
    };
  };

  return {
    of(sql) {
      const found = known.get(sql);
      if (found !== undefined) return found;
      const name = nameQuery(sql, system);
      const made = { name, succeeded: durations(name) };
      if (!name.hasValues && known.size < MAX_TEXTS) known.set(sql, made);
      return made;
    },
    failed: ({ name }, errorClass, statusCode) =>
      durations(name, {
        "error.type": errorClass,
        ...(statusCode !== undefined && { "db.response.status_code": statusCode }),
      }),
    waited(seconds) {
      waits ??= histogram("db.client.connection.wait_time", {});
      waits.record(seconds);
    },
  };
}
