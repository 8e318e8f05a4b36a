/** The statements that read ranges: each walks along the keys of its series, apart so that their plans can be looked at. */
import { eq, gte, inArray, lt, type SQL, sql } from "drizzle-orm";
import { metricRollups } from "../../../drizzle/postgres/self-healing-schema.js";
import type { SummaryPart } from "../../../shared/summary-fold.js";
import { type CountedRows, type RollupsRead, rowsOfOne } from "../range-plan.js";
import type { Db } from "./postgres-connection.js";
import { isPending } from "./rollup-queries.js";

export interface AddedUp extends SummaryPart {
  /** The start of the step, or the series. */
  readonly place: number;
}

/** A sum that outgrows a float is an error to PostgreSQL: sums are cut here, and what reaches it counts as the largest float. */
const LARGEST_SUM = 1e300;

/** A row as it is added up further. */
export function partOf({ place: _, ...part }: AddedUp): SummaryPart {
  return Math.abs(part.sum) < LARGEST_SUM ? part : { ...part, sum: Math.sign(part.sum) * Number.MAX_VALUE };
}

/**
 * Rows added up, their distributions joined. What one series gives is bounded, although the bound is seldom reached: it keeps
 * the planner at one walk along the key for each series.
 */
const addedUp = (place: SQL) => ({
  place: asNumber(place).as("place"),
  count: asNumber(sql`sum(r.count)`),
  sum: sql<number>`sum(least(greatest(r.sum, ${sql.raw(String(-LARGEST_SUM))}), ${sql.raw(String(LARGEST_SUM))}))`,
  min: sql<number>`min(r.min)`,
  max: sql<number>`max(r.max)`,
  buckets: sql<Buffer>`coalesce(string_agg(nullif(r.buckets, ''), '\\x00'), '')`,
});

function rollupsOf(read: RollupsRead, mostOfEach: number): SQL {
  const { resolutionMs, bucket } = metricRollups;
  return ofEach(
    read.seriesIds,
    sql`${isWithin(read)} and ${eq(resolutionMs, read.resolutionMs)}
      ${read.onlyPending ? sql`and ${isPending}` : sql``}
      order by ${bucket} limit ${mostOfEach}`,
  );
}

/** Rows `r` of the series `asked.id`, of which `condition` tells the rest. */
function ofEach(seriesIds: readonly number[], condition: SQL): SQL {
  return sql`unnest(${sql.param([...seriesIds])}::bigint[]) as asked (id) cross join lateral (
    select * from ${metricRollups} where ${metricRollups.seriesId} = asked.id and ${condition}) as r`;
}

function isWithin({ from, to }: { readonly from: number; readonly to: number }): SQL {
  return sql`${gte(metricRollups.bucket, from)} and ${lt(metricRollups.bucket, to)}`;
}

function asNumber(value: SQL): SQL<number> {
  return sql<number>`(${value})::float8`;
}

/** The steps of some series together, apart so that its query plan can be looked at. */
export function stepQuery(
  db: Db,
  read: RollupsRead,
  { stepMs, limit }: { readonly stepMs: number; readonly limit: number },
) {
  // The first `limit` steps of all series together lie within this many buckets of each of them.
  const mostOfEach = limit * Math.max(1, stepMs / read.resolutionMs);
  const width = sql`${stepMs}::bigint`;
  return db
    .select(addedUp(sql`r.bucket - mod(r.bucket, ${width})`))
    .from(rollupsOf(read, mostOfEach))
    .groupBy(sql`place`)
    .orderBy(sql`place`)
    .limit(limit);
}

/** Each of some series over the whole range. */
export function totalQuery(db: Db, read: RollupsRead) {
  return db
    .select(addedUp(sql`r.series_id`))
    .from(rollupsOf(read, rowsOfOne(read)))
    .groupBy(sql`place`);
}

const COUNTED = {
  id: asNumber(sql`asked.id`),
  rows: asNumber(sql`count(*)`),
  first: asNumber(sql`min(r.bucket)`),
  last: asNumber(sql`max(r.bucket)`),
};

/** How many rows of one pass each series has. */
export async function countQuery(db: Db, read: RollupsRead): Promise<readonly CountedRows[]> {
  return db
    .select(COUNTED)
    .from(rollupsOf(read, rowsOfOne(read)))
    .groupBy(sql`asked.id`);
}

/** How many rows of some resolutions each series has that no coarser one holds. */
export async function pendingCountQuery(
  db: Db,
  {
    seriesIds,
    resolutionsMs,
    ...range
  }: {
    readonly seriesIds: readonly number[];
    readonly resolutionsMs: readonly number[];
    readonly from: number;
    readonly to: number;
  },
): Promise<readonly (CountedRows & { readonly resolutionMs: number })[]> {
  const isAsked = inArray(metricRollups.resolutionMs, [...resolutionsMs]);
  return db
    .select({ ...COUNTED, resolutionMs: asNumber(sql`r.resolution_ms`) })
    .from(ofEach(seriesIds, sql`${isWithin(range)} and ${isAsked} and ${isPending}`))
    .groupBy(sql`asked.id`, sql`r.resolution_ms`);
}
