/**
 * Reads ranges of series: adds rollups up in SQL, series by series along their own keys, and folds what comes out of it. A
 * read of many series is many statements, each small enough that its fold holds up no call, on one snapshot.
 */
import { and, asc, eq, gt, gte, like, lt, type SQL, sql } from "drizzle-orm";
import { metricRollups, metricSeries, rollupMarks } from "../../../drizzle/postgres/self-healing-schema.js";
import { ParamedicError } from "../../../shared/errors.js";
import { heatMapOf } from "../../../shared/heat-map.js";
import { type KeptFrom, stretchesOf } from "../../../shared/resolutions.js";
import type { Tags } from "../../../shared/series.js";
import { createStepFold, pointOf, type StepSummary } from "../../../shared/step-fold.js";
import type { SummaryPart } from "../../../shared/summary-fold.js";
import { createProcedureFold, PROCEDURE_PREFIX } from "../../../shared/top-procedures.js";
import { DAY_MS } from "../../../shared/units.js";
import type { Clock } from "../../ports/clock.js";
import type { RangeStore, SeriesQuery } from "../../ports/store.js";
import { checkLimit } from "../page-cursor.js";
import { LARGEST_SUM, type Pass, partOf, passesOf, type Range, rowsOfOne, slicesOf } from "../range-plan.js";
import { carriesTags, checkBands, checkStep } from "../series-steps.js";
import type { Db } from "./postgres-connection.js";
import type { ReadTurns } from "./read-turns.js";
import { isPending } from "./rollup-queries.js";
import type { Snapshot } from "./write-transactions.js";

export interface RangeQueryDeps {
  readonly clock: Clock;
  readonly db: Db;
  readonly snapshot: Snapshot;
  readonly turns: ReadTurns;
}

/** Rows that one statement adds up: their distributions are unpacked in a millisecond or two. */
const MOST_ROWS = 2_000;
const SERIES_PER_PAGE = 1_000;

export function createRangeQueries(
  { clock, db, snapshot, turns }: RangeQueryDeps,
  { rangeTimeoutMs }: { readonly rangeTimeoutMs: number },
): Pick<RangeStore, "readSeries" | "readHeatMap" | "readTopProcedures" | "readStretches"> {
  /** Adds up all series that are asked for, a statement at a time. */
  const scan = ({ of, range, statement, add }: Scan): Promise<void> =>
    turns.run(() => {
      const until = clock.monotonic() + rangeTimeoutMs;
      return snapshot(async (tx) => {
        const passes = passesOf(range, await keptFrom(tx));
        for await (const page of seriesPages(tx, of)) {
          for (const pass of passes) {
            for (const seriesIds of await slicesIn(tx, pass, [...page.keys()])) {
              if (clock.monotonic() > until) throw tookTooLong(rangeTimeoutMs);
              const rows = await statement(tx, { ...pass, seriesIds });
              for (const { place, ...part } of rows) add({ place, part: partOf(part), series: page });
            }
          }
        }
      });
    });

  const readSteps = async ({ stepMs, limit, ...query }: SeriesQuery): Promise<readonly StepSummary[]> => {
    const fold = createStepFold({ stepMs: checkStep(stepMs), limit: checkLimit(limit) });
    await scan({
      of: { where: eq(metricSeries.metricName, query.metricName), tags: query.tags },
      range: { ...query, stepMs },
      statement: (tx, read) => stepQuery(tx, read, { stepMs, limit }),
      add: ({ place, part }) => fold.add(place, part),
    });
    return fold.take();
  };

  return {
    async readSeries(query) {
      return (await readSteps(query)).map(pointOf);
    },

    async readHeatMap({ mostBands, ...query }) {
      const most = checkBands(mostBands);
      return heatMapOf(await readSteps(query), most);
    },

    async readTopProcedures({ from, to, by, limit }) {
      const most = checkLimit(limit);
      const fold = createProcedureFold();
      await scan({
        of: { where: isOfProcedure },
        range: { from, to, stepMs: DAY_MS },
        statement: totalQuery,
        add({ place, part, series }) {
          const found = series.get(place);
          if (found) fold.add(found, part);
        },
      });
      return fold.top(by, most);
    },

    async readStretches(range) {
      checkStep(range.stepMs);
      return stretchesOf(range, await keptFrom(db));
    },
  };
}

interface SeriesRow {
  readonly id: number;
  readonly metricName: string;
  readonly tags: Tags;
}

interface WantedSeries {
  readonly where: SQL | undefined;
  readonly tags?: Tags | undefined;
}

/** What one statement reads. */
export interface RollupsRead extends Pass {
  readonly seriesIds: readonly number[];
}

interface AddedUp extends SummaryPart {
  /** The start of the step, or the series. */
  readonly place: number;
}

interface Scan {
  readonly of: WantedSeries;
  readonly range: Range;
  statement(tx: Db, read: RollupsRead): PromiseLike<readonly AddedUp[]>;
  add(found: { place: number; part: SummaryPart; series: ReadonlyMap<number, SeriesRow> }): void;
}

const isOfProcedure = and(
  eq(metricSeries.metricType, "operation"),
  like(metricSeries.metricName, `${PROCEDURE_PREFIX}%`),
);

async function keptFrom(db: Db): Promise<KeptFrom> {
  const marks = await db.select().from(rollupMarks);
  return new Map(marks.map((row) => [row.resolutionMs, row.keptFrom]));
}

/** As many series at once as `MOST_ROWS` allow; of pending rows nobody knows without counting how many there are. */
async function slicesIn(db: Db, pass: Pass, ids: readonly number[]): Promise<readonly (readonly number[])[]> {
  if (!pass.onlyPending || ids.length === 0) return slicesOf(ids, rowsOfOne(pass), MOST_ROWS);
  const [pending] = await db
    .select({ rows: sql<number>`count(*)::float8` })
    .from(rollupsOf({ ...pass, seriesIds: ids }, rowsOfOne(pass)));
  return pending === undefined || pending.rows === 0 ? [] : slicesOf(ids, pending.rows / ids.length, MOST_ROWS);
}

/** By id, a page at a time: reading the names of twenty thousand series would hold up calls too. */
async function* seriesPages(db: Db, { where, tags }: WantedSeries): AsyncGenerator<ReadonlyMap<number, SeriesRow>> {
  const { id, metricName } = metricSeries;
  let last = 0;
  for (;;) {
    const page: readonly SeriesRow[] = await db
      .select({ id, metricName, tags: metricSeries.tags })
      .from(metricSeries)
      .where(and(where, gt(id, last)))
      .orderBy(asc(id))
      .limit(SERIES_PER_PAGE);
    yield new Map(page.filter((series) => carriesTags(series.tags, tags)).map((series) => [series.id, series]));
    const end = page.at(-1);
    if (end === undefined || page.length < SERIES_PER_PAGE) return;
    last = end.id;
  }
}

/**
 * Rows added up, their distributions joined. What one series gives is bounded, although the bound is seldom reached: it keeps
 * the planner at one walk along the key for each series.
 */
const addedUp = (place: SQL) => ({
  place: sql<number>`(${place})::float8`.as("place"),
  count: sql<number>`sum(r.count)::float8`,
  sum: sql<number>`sum(least(greatest(r.sum, ${sql.raw(String(-LARGEST_SUM))}), ${sql.raw(String(LARGEST_SUM))}))`,
  min: sql<number>`min(r.min)`,
  max: sql<number>`max(r.max)`,
  buckets: sql<Buffer>`coalesce(string_agg(nullif(r.buckets, ''), '\\x00'), '')`,
});

function rollupsOf({ seriesIds, resolutionMs, from, to, onlyPending }: RollupsRead, mostOfEach: number) {
  const { bucket } = metricRollups;
  return sql`unnest(${sql.param([...seriesIds])}::bigint[]) as asked (id) cross join lateral (
    select * from ${metricRollups}
    where ${and(
      sql`${metricRollups.seriesId} = asked.id`,
      eq(metricRollups.resolutionMs, resolutionMs),
      gte(bucket, from),
      lt(bucket, to),
      onlyPending ? isPending : undefined,
    )}
    order by ${bucket} limit ${mostOfEach}
  ) as r`;
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
    .select(addedUp(sql`r.bucket - mod(mod(r.bucket, ${width}) + ${width}, ${width})`))
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

function tookTooLong(rangeTimeoutMs: number): ParamedicError {
  return new ParamedicError(
    "STORE_UNAVAILABLE",
    `a range was not read within ${rangeTimeoutMs} ms; ask for fewer series, a shorter range or a longer step`,
  );
}
