/**
 * Reads ranges of series: adds rollups up in SQL and folds what comes out of it. A read of many series is many statements,
 * each small enough that its fold holds up no call, on one snapshot.
 */
import { and, asc, eq, gt, like, type SQL } from "drizzle-orm";
import { metricSeries, rollupMarks } from "../../../drizzle/postgres/self-healing-schema.js";
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
import { type Pass, passesOf, type Range, type RollupsRead, readsOf, rowsOfOne } from "../range-plan.js";
import { carriesTags, checkBands, checkStep } from "../series-steps.js";
import type { Db } from "./postgres-connection.js";
import { type AddedUp, countQuery, partOf, pendingCountQuery, stepQuery, totalQuery } from "./range-statements.js";
import type { ReadTurns } from "./read-turns.js";
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
          for await (const part of readsOfPage(tx, passes, [...page.keys()])) {
            if (clock.monotonic() > until) throw tookTooLong(rangeTimeoutMs);
            const rows = await statement(tx, part);
            for (const row of rows) add({ place: row.place, part: partOf(row), series: page });
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

/** A page of series divided into statements of `MOST_ROWS`, by counting where there may be more. */
async function* readsOfPage(
  db: Db,
  passes: readonly Pass[],
  seriesIds: readonly number[],
): AsyncGenerator<RollupsRead> {
  if (seriesIds.length === 0) return;
  const pending = await countPending(db, passes, seriesIds);
  for (const pass of passes) {
    const ofPass = pending.filter(({ resolutionMs }) => resolutionMs === pass.resolutionMs);
    if (pass.onlyPending) yield* readsOf(pass, ofPass, MOST_ROWS);
    else if (seriesIds.length * rowsOfOne(pass) <= MOST_ROWS) yield { ...pass, seriesIds };
    else yield* readsOf(pass, await countQuery(db, { ...pass, seriesIds }), MOST_ROWS);
  }
}

/** Of pending rows nobody knows how many there are. Mostly there are none, which one statement tells of all passes. */
async function countPending(db: Db, passes: readonly Pass[], seriesIds: readonly number[]) {
  const pending = passes.filter(({ onlyPending }) => onlyPending);
  if (pending.length === 0) return [];
  return pendingCountQuery(db, {
    seriesIds,
    resolutionsMs: [...new Set(pending.map(({ resolutionMs }) => resolutionMs))],
    from: Math.min(...pending.map(({ from }) => from)),
    to: Math.max(...pending.map(({ to }) => to)),
  });
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

function tookTooLong(rangeTimeoutMs: number): ParamedicError {
  return new ParamedicError(
    "STORE_UNAVAILABLE",
    `a range was not read within ${rangeTimeoutMs} ms; ask for fewer series, a shorter range or a longer step`,
  );
}
