/** Reads which series there are, the ledger and its gaps. */
import { and, asc, desc, eq, gte, lt, sql } from "drizzle-orm";
import { ingestBoots, ingestGaps, metricSeries } from "../../../drizzle/postgres/self-healing-schema.js";
import type { BatchGap, SeriesDescriptor } from "../../../shared/series.js";
import type { LedgerEntry, RangeStore, RollupStore } from "../../ports/store.js";
import { checkLimit } from "../page-cursor.js";
import { MOST_SERIES_COUNTED } from "../range-plan.js";
import type { Db } from "./postgres-connection.js";

export interface RollupQueries {
  listSeries(filter: Parameters<RollupStore["listSeries"]>[0]): Promise<readonly SeriesDescriptor[]>;
  readMetric: RangeStore["readMetric"];
  ledger(): Promise<readonly LedgerEntry[]>;
  listGaps(query: Parameters<RollupStore["listGaps"]>[0]): Promise<readonly BatchGap[]>;
}

export function createRollupQueries(db: Db): RollupQueries {
  const { metricType, metricName, kind, unit, source, tags } = metricSeries;
  const descriptor = { metricType, metricName, kind, unit, source, tags };
  const identity = [asc(metricName), asc(metricType), asc(source), asc(tags)];

  return {
    async listSeries(filter) {
      return db
        .select(descriptor)
        .from(metricSeries)
        .where(filter.metricName === undefined ? undefined : eq(metricName, filter.metricName))
        .orderBy(...identity)
        .limit(checkLimit(filter.limit));
    },

    async readMetric(name) {
      const ofMetric = eq(metricName, name);
      const counted = db.select({ one: sql`1` }).from(metricSeries).where(ofMetric).limit(MOST_SERIES_COUNTED);
      const [metric] = await db
        .select({ kind, unit, series: sql<number>`(select count(*) from ${counted})::float8` })
        .from(metricSeries)
        .where(ofMetric)
        .limit(1);
      return metric;
    },

    async ledger() {
      return db
        .select({
          instance: ingestBoots.instance,
          boot: ingestBoots.boot,
          recorded: ingestBoots.recorded,
          dropped: ingestBoots.dropped,
          rolledUp: ingestBoots.points,
          batches: ingestBoots.batches,
          lost: ingestBoots.lost,
          lastAt: ingestBoots.lastAt,
        })
        .from(ingestBoots)
        .orderBy(asc(ingestBoots.firstAt));
    },

    async listGaps({ from, to, limit }) {
      return db
        .select({
          instance: ingestGaps.instance,
          boot: ingestGaps.boot,
          firstSeq: ingestGaps.firstSeq,
          lastSeq: ingestGaps.lastSeq,
          from: ingestGaps.windowStart,
          to: ingestGaps.windowEnd,
          points: ingestGaps.points,
        })
        .from(ingestGaps)
        .where(
          and(
            from === undefined ? undefined : gte(ingestGaps.windowEnd, from),
            to === undefined ? undefined : lt(ingestGaps.windowStart, to),
          ),
        )
        .orderBy(desc(ingestGaps.windowEnd))
        .limit(checkLimit(limit));
    },
  };
}

/** Rows that are in no coarser one; the words of the index that holds them. */
export const isPending = sql`not compacted`;
