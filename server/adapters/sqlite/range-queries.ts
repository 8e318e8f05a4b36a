/** Reads ranges of series: adds rollups up in SQL, series by series along their own keys, and folds what comes out of it. */
import { count, eq, type SQL, sql } from "drizzle-orm";
import { metricSeries, rollupMarks } from "../../../drizzle/self-healing-schema.js";
import { type HeatMap, heatMapOf } from "../../../shared/heat-map.js";
import { bucketStart, type KeptFrom, type Stretch, stretchesOf } from "../../../shared/resolutions.js";
import type { SeriesPoint, Tags } from "../../../shared/series.js";
import { createStepFold, pointOf, type StepSummary } from "../../../shared/step-fold.js";
import type { SummaryPart } from "../../../shared/summary-fold.js";
import { createProcedureFold, PROCEDURE_PREFIX, type ProcedureTotals } from "../../../shared/top-procedures.js";
import { DAY_MS } from "../../../shared/units.js";
import type { RangeStore, SeriesQuery } from "../../ports/store.js";
import { checkLimit } from "../page-cursor.js";
import { type Pass, passesOf, rowsOfOne, slicesOf } from "../range-plan.js";
import { carriesTags, checkBands, checkStep } from "../series-steps.js";
import { prepareValues } from "./prepared-values.js";
import type { ConnectedDb, Db } from "./sqlite-connection.js";

export interface RangeQueries {
  readSeries(query: SeriesQuery): readonly SeriesPoint[];
  readHeatMap(query: Parameters<RangeStore["readHeatMap"]>[0]): HeatMap;
  readTopProcedures(query: Parameters<RangeStore["readTopProcedures"]>[0]): readonly ProcedureTotals[];
  readStretches(range: Parameters<RangeStore["readStretches"]>[0]): readonly Stretch[];
  /** The same where it is over so soon that the thread that serves calls may do it; else undefined, and nothing was read. */
  readSeriesIfSmall(query: SeriesQuery): readonly SeriesPoint[] | undefined;
  readHeatMapIfSmall(query: Parameters<RangeStore["readHeatMap"]>[0]): HeatMap | undefined;
}

/** Rows that one statement adds up: a few megabytes of distributions, whatever the number of series. */
const MOST_ROWS = 10_000;
/** A day of one series in minutes is 1,440 rows and some two milliseconds; what is more goes elsewhere. */
const SMALL_ROWS = 2_000;
const SMALL_SERIES = 16;
/** A step of so many rows is read by a statement of its own: SQLite would sort all rows of a series into their steps. */
const ROWS_WORTH_A_STATEMENT = 4;

export function createRangeQueries(db: ConnectedDb): RangeQueries {
  const { id, metricType, metricName, tags } = metricSeries;
  const seriesOfMetric = db
    .select({ id, tags })
    .from(metricSeries)
    .where(eq(metricName, sql.placeholder("metricName")))
    .limit(sql.placeholder("limit"))
    .prepare();
  const seriesOfProcedures = db
    .select({ id, metricName, tags })
    .from(metricSeries)
    .where(sql`${metricName} >= ${PROCEDURE_PREFIX} and ${metricName} < ${AFTER_PROCEDURES}
      and ${metricType} = 'operation'`)
    .prepare();
  const readMarks = db.select().from(rollupMarks).prepare();
  const steps = { all: stepQuery(db, false).prepare(), pending: stepQuery(db, true).prepare() };
  const totals = { all: totalQuery(db, false).prepare(), pending: totalQuery(db, true).prepare() };
  const stepOfOne = prepareValues(db, stepOfOneQuery(db));

  const countPending = db.select({ rows: count() }).from(rollupsOf(true)).where(isRead(true)).prepare();

  const keptFrom = (): KeptFrom => new Map(readMarks.all().map((row) => [row.resolutionMs, row.keptFrom]));

  /** All statements of one read see the same rows: compaction moves points from row to row between them. */
  const atOnce = <T>(read: () => T): T => db.transaction(read);

  /** As many series at once as `MOST_ROWS` allow; of pending rows nobody knows without counting how many there are. */
  const slicesIn = (pass: Pass, ids: readonly number[]): readonly (readonly number[])[] => {
    if (!pass.onlyPending) return slicesOf(ids, rowsOfOne(pass), MOST_ROWS);
    const rows = countPending.get({ ...boundsOf(pass), seriesIds: JSON.stringify(ids) })?.rows ?? 0;
    return rows === 0 ? [] : slicesOf(ids, rows / ids.length, MOST_ROWS);
  };

  const fold = ({ stepMs, limit, tags: wanted }: SeriesQuery, { series, passes }: Plan): readonly StepSummary[] => {
    const folding = createStepFold({ stepMs, limit });
    const ids = series.filter((one) => carriesTags(one.tags, wanted)).map((one) => one.id);
    const addStepByStep = ({ resolutionMs, from, to }: Pass) => {
      for (const seriesId of ids) {
        for (let start = bucketStart(from, stepMs); start < to; start += stepMs) {
          const within = { from: Math.max(start, from), to: Math.min(start + stepMs, to) };
          for (const row of stepOfOne({ seriesId, resolutionMs, ...within }).map(addedUpOf)) {
            if (row.count > 0) folding.add(start, row);
          }
        }
      }
    };
    for (const pass of passes) {
      if (!pass.onlyPending && ids.length <= SMALL_SERIES && stepMs >= ROWS_WORTH_A_STATEMENT * pass.resolutionMs) {
        addStepByStep(pass);
        continue;
      }
      for (const slice of slicesIn(pass, ids)) {
        const statement = pass.onlyPending ? steps.pending : steps.all;
        const asked = { ...boundsOf(pass), seriesIds: JSON.stringify(slice), stepMs, limit };
        for (const row of statement.values(asked)) {
          const part = addedUpOf(row);
          folding.add(part.place, part);
        }
      }
    }
    return folding.take();
  };

  const planOf = (query: SeriesQuery, mostSeries: number): Plan => ({
    series: seriesOfMetric.all({ metricName: query.metricName, limit: mostSeries }),
    passes: passesOf(query, keptFrom()),
  });

  const readSteps = (query: SeriesQuery) => {
    check(query);
    return atOnce(() => fold(query, planOf(query, NO_LIMIT)));
  };

  const readFewSteps = (query: SeriesQuery) => {
    check(query);
    return atOnce(() => {
      // One more than enough tells that there are too many.
      const plan = planOf(query, SMALL_SERIES + 1);
      return isSmall(plan) ? fold(query, plan) : undefined;
    });
  };

  return {
    readSeries: (query) => readSteps(query).map(pointOf),
    readSeriesIfSmall: (query) => readFewSteps(query)?.map(pointOf),

    readHeatMap({ mostBands, ...query }) {
      const most = checkBands(mostBands);
      return heatMapOf(readSteps(query), most);
    },

    readHeatMapIfSmall({ mostBands, ...query }) {
      const most = checkBands(mostBands);
      const found = readFewSteps(query);
      return found && heatMapOf(found, most);
    },

    readTopProcedures({ from, to, by, limit }) {
      const most = checkLimit(limit);
      const fold = createProcedureFold();
      return atOnce(() => {
        const series = new Map(seriesOfProcedures.all().map((row) => [row.id, row]));
        for (const pass of passesOf({ from, to, stepMs: DAY_MS }, keptFrom())) {
          for (const slice of slicesIn(pass, [...series.keys()])) {
            const statement = pass.onlyPending ? totals.pending : totals.all;
            const asked = { ...boundsOf(pass), seriesIds: JSON.stringify(slice) };
            for (const row of statement.values(asked).map(addedUpOf)) {
              const found = series.get(row.place);
              if (found) fold.add(found, row);
            }
          }
        }
        return fold.top(by, most);
      });
    },

    readStretches: (range) => stretchesOf({ ...range, stepMs: checkStep(range.stepMs) }, keptFrom()),
  };
}

/** Which rows tell a range. */
interface Plan {
  readonly series: readonly { readonly id: number; readonly tags: Tags }[];
  readonly passes: readonly Pass[];
}

/** What is pending is left out: it is little, and soon none. */
function isSmall({ series, passes }: Plan): boolean {
  const rowsOfEach = passes.filter(({ onlyPending }) => !onlyPending).reduce((rows, pass) => rows + rowsOfOne(pass), 0);
  return series.length <= SMALL_SERIES && series.length * rowsOfEach <= SMALL_ROWS;
}

function check({ stepMs, limit }: SeriesQuery): void {
  checkStep(stepMs);
  checkLimit(limit);
}

/** SQLite's word for none. */
const NO_LIMIT = -1;

/** The text after all that begins with the prefix: its last character is the one that follows a full stop. */
const AFTER_PROCEDURES = `${PROCEDURE_PREFIX.slice(0, -1)}/`;

function boundsOf({ resolutionMs, from, to }: Pass) {
  return { resolutionMs, from, to };
}

interface AddedUp extends SummaryPart {
  /** The start of the step, or the series. */
  readonly place: number;
}

/** A row as an array: Drizzle's way to an object takes longer than the fold. Its order is that of `addedUp`. */
function addedUpOf(row: unknown): AddedUp {
  const [place, count, sum, min, max, joined] = row as [number, number, number, number, number, Buffer | string | null];
  return {
    place,
    count,
    sum,
    min,
    max,
    buckets: typeof joined === "string" ? Buffer.from(joined, "hex") : (joined ?? []),
  };
}

/** Rows added up, none of them to a count of 0, their distributions joined. */
const addedUp = (db: Db, place: SQL<number>) => ({
  place: place.as("place"),
  count: sql<number>`total(r.count)`,
  sum: sql<number>`sum(r.sum)`,
  min: sql<number>`min(r.min)`,
  max: sql<number>`max(r.max)`,
  joined: joinedIn(db),
});

/** SQLite joins text alone. In UTF-8 the bytes stay what they are; an app's own database may hold its text in UTF-16. */
function joinedIn(db: Db): SQL<Buffer | string | null> {
  const { encoding } = db.get<{ encoding: string }>(sql`pragma encoding`);
  const isAny = sql`filter (where r.buckets <> x'')`;
  return encoding === "UTF-8"
    ? sql`cast(group_concat(cast(r.buckets as text), x'00') ${isAny} as blob)`
    : sql`group_concat(hex(r.buckets), '00') ${isAny}`;
}

/**
 * What no coarser row holds yet is read by the index that holds nothing else. It is named, because SQLite would look through
 * all rows of the range in the primary key.
 */
function rollupsOf(onlyPending: boolean) {
  const index = onlyPending ? sql`indexed by paramedic_rollups_pending` : sql``;
  return sql`json_each(${sql.placeholder("seriesIds")}) asked cross join paramedic_rollups r ${index}`;
}

function isRead(onlyPending: boolean) {
  return sql`r.series_id = asked.value and r.resolution_ms = ${sql.placeholder("resolutionMs")}
    and r.bucket >= ${sql.placeholder("from")} and r.bucket < ${sql.placeholder("to")}
    ${onlyPending ? sql`and r.compacted = 0` : sql``}`;
}

/** The steps of some series together, apart so that its query plan can be looked at. */
export function stepQuery(db: Db, onlyPending: boolean) {
  const stepMs = sql.placeholder("stepMs");
  return db
    .select(addedUp(db, sql`r.bucket - r.bucket % ${stepMs}`))
    .from(rollupsOf(onlyPending))
    .where(isRead(onlyPending))
    .groupBy(sql`place`)
    .orderBy(sql`place`)
    .limit(sql.placeholder("limit"));
}

/** One step of one series. */
export function stepOfOneQuery(db: Db) {
  return db
    .select(addedUp(db, sql`0`))
    .from(sql`paramedic_rollups r`)
    .where(sql`r.series_id = ${sql.placeholder("seriesId")} and r.resolution_ms = ${sql.placeholder("resolutionMs")}
    and r.bucket >= ${sql.placeholder("from")} and r.bucket < ${sql.placeholder("to")}`);
}

/** Each of some series over the whole range. */
export function totalQuery(db: Db, onlyPending: boolean) {
  return db
    .select(addedUp(db, sql`r.series_id`))
    .from(rollupsOf(onlyPending))
    .where(isRead(onlyPending))
    .groupBy(sql`place`);
}
