CREATE TABLE `paramedic_rollup_marks` (
	`resolution_ms` integer PRIMARY KEY NOT NULL,
	`kept_from` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `paramedic_rollups` ADD `compacted` integer DEFAULT false NOT NULL;--> statement-breakpoint
CREATE INDEX `paramedic_rollups_pending` ON `paramedic_rollups` (`resolution_ms`,`series_id`,`bucket`) WHERE compacted = 0;--> statement-breakpoint
DROP VIEW `system_health_metrics`;--> statement-breakpoint
CREATE VIEW `system_health_metrics` AS 
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
    r.bucket >= coalesce((select kept_from from paramedic_rollup_marks m where m.resolution_ms = r.resolution_ms), -9e15)
    and (r.resolution_ms = 10000 or r.bucket < coalesce((select kept_from from paramedic_rollup_marks m where m.resolution_ms =
      case r.resolution_ms when 60000 then 10000 when 3600000 then 60000 else 3600000 end), -9e15))
  ) or (
    r.compacted = 0 and r.resolution_ms < 86400000
    and r.bucket < coalesce((select kept_from from paramedic_rollup_marks m where m.resolution_ms = r.resolution_ms), -9e15)
  );