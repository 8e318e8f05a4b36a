CREATE TABLE `paramedic_ingest_gaps` (
	`instance` text NOT NULL,
	`boot` text NOT NULL,
	`first_seq` integer NOT NULL,
	`last_seq` integer NOT NULL,
	`window_start` integer NOT NULL,
	`window_end` integer NOT NULL,
	`points` integer NOT NULL,
	`carried_before` integer NOT NULL,
	PRIMARY KEY(`instance`, `boot`, `first_seq`)
);
--> statement-breakpoint
CREATE INDEX `paramedic_ingest_gaps_window_end` ON `paramedic_ingest_gaps` (`window_end`);--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` ADD `lost` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` ADD `settled_seq` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` ADD `settled_carried` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` ADD `settled_window_start` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` ADD `settled_window_end` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `paramedic_ingest_boots_last_at` ON `paramedic_ingest_boots` (`last_at`);--> statement-breakpoint
ALTER TABLE `paramedic_ingest_ledger` ADD `carried` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
-- What each boot had carried up to each of its batches: its folded points, and from its last hole on what is missing too.
UPDATE `paramedic_ingest_ledger` AS entry SET `carried` = told.carried FROM (
  SELECT l.instance, l.boot, l.seq,
    sum(l.points) OVER (PARTITION BY l.instance, l.boot ORDER BY l.seq)
      + CASE WHEN l.seq >= hole.seq THEN hole.missing ELSE 0 END AS carried
  FROM paramedic_ingest_ledger l LEFT JOIN (
    SELECT b.instance, b.boot, max(n.seq) AS seq,
      max(b.recorded - b.points - (SELECT coalesce(sum(d.value), 0) FROM json_each(b.dropped) d)) AS missing
    FROM paramedic_ingest_boots b JOIN (
      SELECT instance, boot, seq, lag(seq, 1, 0) OVER (PARTITION BY instance, boot ORDER BY seq) AS before
      FROM paramedic_ingest_ledger
    ) n ON n.instance = b.instance AND n.boot = b.boot
    WHERE n.seq <> n.before + 1
    GROUP BY b.instance, b.boot
  ) hole ON hole.instance = l.instance AND hole.boot = l.boot
) told
WHERE entry.instance = told.instance AND entry.boot = told.boot AND entry.seq = told.seq;
