-- Makes the rows anew that the marks stand for, so that the version before folds none of these batches again.
WITH RECURSIVE n (instance, boot, seq, mark) AS (
  SELECT instance, boot, 1, settled_seq FROM paramedic_ingest_boots WHERE settled_seq > 0
  UNION ALL SELECT instance, boot, seq + 1, mark FROM n WHERE seq < mark
)
INSERT INTO `paramedic_ingest_ledger` (`instance`, `boot`, `seq`, `window_start`, `window_end`, `points`, `committed_at`)
SELECT b.instance, b.boot, n.seq, b.settled_window_start, b.settled_window_end,
  CASE WHEN n.seq = b.settled_seq THEN b.points
    - (SELECT coalesce(sum(l.points), 0) FROM paramedic_ingest_ledger l WHERE l.instance = b.instance AND l.boot = b.boot)
  ELSE 0 END,
  b.last_at
FROM paramedic_ingest_boots b JOIN n ON n.instance = b.instance AND n.boot = b.boot
WHERE NOT EXISTS (
  SELECT 1 FROM paramedic_ingest_gaps g
  WHERE g.instance = b.instance AND g.boot = b.boot AND n.seq BETWEEN g.first_seq AND g.last_seq
);
--> statement-breakpoint
DROP TABLE `paramedic_ingest_gaps`;
--> statement-breakpoint
DROP INDEX `paramedic_ingest_boots_last_at`;
--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` DROP COLUMN `lost`;
--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` DROP COLUMN `settled_seq`;
--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` DROP COLUMN `settled_carried`;
--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` DROP COLUMN `settled_window_start`;
--> statement-breakpoint
ALTER TABLE `paramedic_ingest_boots` DROP COLUMN `settled_window_end`;
--> statement-breakpoint
ALTER TABLE `paramedic_ingest_ledger` DROP COLUMN `carried`;
