-- Keeps the finest rollups, the only ones that the version before reads; the copy of the database keeps the others.
DROP VIEW `system_health_metrics`;
--> statement-breakpoint
DELETE FROM `paramedic_rollups` WHERE `resolution_ms` <> 10000;
--> statement-breakpoint
DROP INDEX `paramedic_rollups_pending`;
--> statement-breakpoint
ALTER TABLE `paramedic_rollups` DROP COLUMN `compacted`;
--> statement-breakpoint
DROP TABLE `paramedic_rollup_marks`;
--> statement-breakpoint
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
  from paramedic_series s join paramedic_rollups r on r.series_id = s.id;
