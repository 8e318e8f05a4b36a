CREATE TABLE "paramedic_ingest_gaps" (
	"instance" text NOT NULL,
	"boot" text NOT NULL,
	"first_seq" bigint NOT NULL,
	"last_seq" bigint NOT NULL,
	"window_start" bigint NOT NULL,
	"window_end" bigint NOT NULL,
	"points" bigint NOT NULL,
	"carried_before" bigint NOT NULL,
	CONSTRAINT "paramedic_ingest_gaps_instance_boot_first_seq_pk" PRIMARY KEY("instance","boot","first_seq")
);
--> statement-breakpoint
DROP VIEW "system_health_metrics";--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" ADD COLUMN "lost" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" ADD COLUMN "settled_seq" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" ADD COLUMN "settled_carried" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" ADD COLUMN "settled_window_start" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "paramedic_ingest_boots" ADD COLUMN "settled_window_end" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "paramedic_ingest_ledger" ADD COLUMN "carried" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX "paramedic_ingest_gaps_window_end" ON "paramedic_ingest_gaps" USING btree ("window_end");--> statement-breakpoint
CREATE INDEX "paramedic_ingest_boots_last_at" ON "paramedic_ingest_boots" USING btree ("last_at");--> statement-breakpoint
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
  from paramedic_series s join paramedic_rollups r on r.series_id = s.id
  where (
    r.bucket >= coalesce((select kept_from from paramedic_rollup_marks m where m.resolution_ms = r.resolution_ms), -9000000000000000)
    and (r.resolution_ms = 10000 or r.bucket < coalesce((select kept_from from paramedic_rollup_marks m where m.resolution_ms =
      case r.resolution_ms when 60000 then 10000 when 3600000 then 60000 else 3600000 end), -9000000000000000))
  ) or (
    not r.compacted and r.resolution_ms < 86400000
    and r.bucket < coalesce((select kept_from from paramedic_rollup_marks m where m.resolution_ms = r.resolution_ms), -9000000000000000)
  ));--> statement-breakpoint
-- What each boot had carried up to each of its batches: its folded points, and from its last hole on what is missing too.
UPDATE "paramedic_ingest_ledger" AS entry SET "carried" = told.carried FROM (
  SELECT l.instance, l.boot, l.seq,
    sum(l.points) OVER (PARTITION BY l.instance, l.boot ORDER BY l.seq)
      + CASE WHEN l.seq >= hole.seq THEN hole.missing ELSE 0 END AS carried
  FROM paramedic_ingest_ledger l LEFT JOIN (
    SELECT b.instance, b.boot, max(n.seq) AS seq,
      max(b.recorded - b.points - (SELECT coalesce(sum(d.value::bigint), 0) FROM json_each_text(b.dropped::json) d)) AS missing
    FROM paramedic_ingest_boots b JOIN (
      SELECT instance, boot, seq, lag(seq, 1, 0::bigint) OVER (PARTITION BY instance, boot ORDER BY seq) AS before
      FROM paramedic_ingest_ledger
    ) n ON n.instance = b.instance AND n.boot = b.boot
    WHERE n.seq <> n.before + 1
    GROUP BY b.instance, b.boot
  ) hole ON hole.instance = l.instance AND hole.boot = l.boot
) told
WHERE entry.instance = told.instance AND entry.boot = told.boot AND entry.seq = told.seq;
