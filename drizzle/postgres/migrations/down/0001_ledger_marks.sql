-- Makes the rows anew that the marks stand for, so that the version before folds none of these batches again.
INSERT INTO "paramedic_ingest_ledger" ("instance", "boot", "seq", "window_start", "window_end", "points", "committed_at")
SELECT b.instance, b.boot, n.seq, b.settled_window_start, b.settled_window_end,
  CASE WHEN n.seq = b.settled_seq THEN b.points
    - (SELECT coalesce(sum(l.points), 0) FROM paramedic_ingest_ledger l WHERE l.instance = b.instance AND l.boot = b.boot)
  ELSE 0 END,
  b.last_at
FROM paramedic_ingest_boots b CROSS JOIN LATERAL generate_series(1, b.settled_seq) AS n (seq)
WHERE NOT EXISTS (
  SELECT 1 FROM paramedic_ingest_gaps g
  WHERE g.instance = b.instance AND g.boot = b.boot AND n.seq BETWEEN g.first_seq AND g.last_seq
);
--> statement-breakpoint
DROP TABLE "paramedic_ingest_gaps";
--> statement-breakpoint
DROP INDEX "paramedic_ingest_boots_last_at";
--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" DROP COLUMN "lost";
--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" DROP COLUMN "settled_seq";
--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" DROP COLUMN "settled_carried";
--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" DROP COLUMN "settled_window_start";
--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" DROP COLUMN "settled_window_end";
--> statement-breakpoint
ALTER TABLE "paramedic_ingest_ledger" DROP COLUMN "carried";
--> statement-breakpoint
-- The version before reads the finest rollups only, and compacts none; the copy of the database keeps the others.
DROP VIEW "system_health_metrics";
--> statement-breakpoint
DELETE FROM "paramedic_rollups" WHERE "resolution_ms" <> 10000;
--> statement-breakpoint
UPDATE "paramedic_rollups" SET "compacted" = false;
--> statement-breakpoint
DELETE FROM "paramedic_rollup_marks";
--> statement-breakpoint
CREATE VIEW "system_health_metrics" AS (
  select
    r.series_id || '-' || r.resolution_ms || '-' || r.bucket as id,
    r.bucket as timestamp,
    s.metric_type as metric_type,
    s.metric_name as metric_name,
    case s.kind when 'histogram' then r.sum / r.count when 'counter' then r.sum else r.last end as value,
    s.unit as unit,
    s.tags as tags,
    s.source as source,
    r.last_at as created_at,
    r.resolution_ms as resolution_ms,
    r.count as count,
    r.sum as sum,
    r.min as min,
    r.max as max,
    r.buckets as buckets
  from paramedic_series s join paramedic_rollups r on r.series_id = s.id);
