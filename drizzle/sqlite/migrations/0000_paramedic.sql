CREATE TABLE `paramedic_alerts` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`alert_id` text NOT NULL,
	`dedupe_key` text NOT NULL,
	`rule` text NOT NULL,
	`severity` text NOT NULL,
	`status` text NOT NULL,
	`subject` text NOT NULL,
	`summary` text NOT NULL,
	`detail` text,
	`incident_id` text,
	`started_at` integer NOT NULL,
	`fired_at` integer,
	`last_notified_at` integer,
	`acknowledged_by` text,
	`acknowledged_at` integer,
	`resolved_at` integer,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`incident_id`) REFERENCES `paramedic_incidents`(`incident_id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_alerts_alert_id_unique` ON `paramedic_alerts` (`alert_id`);--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_alerts_open_dedupe_key` ON `paramedic_alerts` (`dedupe_key`) WHERE status <> 'resolved';--> statement-breakpoint
CREATE INDEX `paramedic_alerts_started_at` ON `paramedic_alerts` (`started_at`);--> statement-breakpoint
CREATE INDEX `paramedic_alerts_status` ON `paramedic_alerts` (`status`,`started_at`);--> statement-breakpoint
CREATE INDEX `paramedic_alerts_incident_id` ON `paramedic_alerts` (`incident_id`,`started_at`);--> statement-breakpoint
CREATE TABLE `circuit_breaker_states` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`circuit_name` text NOT NULL,
	`state` text NOT NULL,
	`failure_count` integer NOT NULL,
	`success_count` integer NOT NULL,
	`last_failure_at` integer,
	`last_success_at` integer,
	`opened_at` integer,
	`next_retry_at` integer,
	`configuration` text NOT NULL,
	`updated_at` integer NOT NULL,
	`created_at` integer NOT NULL,
	`version` integer NOT NULL,
	`held_state` text,
	`held_by` text,
	`held_reason` text,
	`held_until` integer,
	`probe_lease_owner` text,
	`probe_lease_until` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `circuit_breaker_states_circuit_name_unique` ON `circuit_breaker_states` (`circuit_name`);--> statement-breakpoint
CREATE TABLE `circuit_transitions` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`circuit_name` text NOT NULL,
	`from_state` text NOT NULL,
	`to_state` text NOT NULL,
	`reason` text NOT NULL,
	`version` integer NOT NULL,
	`at` integer NOT NULL,
	`instance` text NOT NULL,
	`failure_event_id` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `circuit_transitions_version` ON `circuit_transitions` (`circuit_name`,`version`);--> statement-breakpoint
CREATE INDEX `circuit_transitions_at` ON `circuit_transitions` (`at`);--> statement-breakpoint
CREATE INDEX `circuit_transitions_circuit_name` ON `circuit_transitions` (`circuit_name`,`at`);--> statement-breakpoint
CREATE INDEX `circuit_transitions_to_state` ON `circuit_transitions` (`to_state`,`at`);--> statement-breakpoint
CREATE INDEX `circuit_transitions_failure_event_id` ON `circuit_transitions` (`failure_event_id`);--> statement-breakpoint
CREATE TABLE `paramedic_dead_batches` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`entry_id` text NOT NULL,
	`reason` text NOT NULL,
	`payload` text NOT NULL,
	`at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_dead_batches_entry_id_unique` ON `paramedic_dead_batches` (`entry_id`);--> statement-breakpoint
CREATE INDEX `paramedic_dead_batches_at` ON `paramedic_dead_batches` (`at`);--> statement-breakpoint
CREATE TABLE `failure_events` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`event_id` text NOT NULL,
	`timestamp` integer NOT NULL,
	`failure_category` text NOT NULL,
	`failure_type` text NOT NULL,
	`severity` text NOT NULL,
	`affected_service` text NOT NULL,
	`error_message` text,
	`error_stack` text,
	`context` text,
	`detection_method` text NOT NULL,
	`user_id` text,
	`request_id` text,
	`resolved` integer NOT NULL,
	`resolved_at` integer,
	`created_at` integer NOT NULL,
	`fingerprint` text NOT NULL,
	`occurrences` integer NOT NULL,
	`last_seen_at` integer NOT NULL,
	`incident_id` text,
	`instance` text NOT NULL,
	FOREIGN KEY (`incident_id`) REFERENCES `paramedic_incidents`(`incident_id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE UNIQUE INDEX `failure_events_event_id_unique` ON `failure_events` (`event_id`);--> statement-breakpoint
CREATE UNIQUE INDEX `failure_events_open_fingerprint` ON `failure_events` (`fingerprint`) WHERE resolved = 0;--> statement-breakpoint
CREATE INDEX `failure_events_open_last_seen_at` ON `failure_events` (`last_seen_at`) WHERE resolved = 0;--> statement-breakpoint
CREATE INDEX `failure_events_timestamp` ON `failure_events` (`timestamp`);--> statement-breakpoint
CREATE INDEX `failure_events_failure_category` ON `failure_events` (`failure_category`,`timestamp`);--> statement-breakpoint
CREATE INDEX `failure_events_failure_type` ON `failure_events` (`failure_type`,`timestamp`);--> statement-breakpoint
CREATE INDEX `failure_events_severity` ON `failure_events` (`severity`,`timestamp`);--> statement-breakpoint
CREATE INDEX `failure_events_affected_service` ON `failure_events` (`affected_service`,`timestamp`);--> statement-breakpoint
CREATE INDEX `failure_events_detection_method` ON `failure_events` (`detection_method`,`timestamp`);--> statement-breakpoint
CREATE INDEX `failure_events_resolved` ON `failure_events` (`resolved`,`timestamp`);--> statement-breakpoint
CREATE INDEX `failure_events_incident_id` ON `failure_events` (`incident_id`,`timestamp`);--> statement-breakpoint
CREATE INDEX `failure_events_request_id` ON `failure_events` (`request_id`) WHERE request_id is not null;--> statement-breakpoint
CREATE TABLE `paramedic_incidents` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`incident_id` text NOT NULL,
	`title` text NOT NULL,
	`severity` text NOT NULL,
	`status` text NOT NULL,
	`affected_service` text NOT NULL,
	`started_at` integer NOT NULL,
	`last_seen_at` integer NOT NULL,
	`resolved_at` integer,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_incidents_incident_id_unique` ON `paramedic_incidents` (`incident_id`);--> statement-breakpoint
CREATE INDEX `paramedic_incidents_started_at` ON `paramedic_incidents` (`started_at`);--> statement-breakpoint
CREATE INDEX `paramedic_incidents_status` ON `paramedic_incidents` (`status`,`started_at`);--> statement-breakpoint
CREATE INDEX `paramedic_incidents_affected_service` ON `paramedic_incidents` (`affected_service`,`started_at`);--> statement-breakpoint
CREATE TABLE `paramedic_ingest_boots` (
	`instance` text NOT NULL,
	`boot` text NOT NULL,
	`seq` integer NOT NULL,
	`recorded` integer NOT NULL,
	`dropped` text NOT NULL,
	`points` integer NOT NULL,
	`batches` integer NOT NULL,
	`first_at` integer NOT NULL,
	`last_at` integer NOT NULL,
	PRIMARY KEY(`instance`, `boot`)
);
--> statement-breakpoint
CREATE TABLE `paramedic_ingest_ledger` (
	`instance` text NOT NULL,
	`boot` text NOT NULL,
	`seq` integer NOT NULL,
	`window_start` integer NOT NULL,
	`window_end` integer NOT NULL,
	`points` integer NOT NULL,
	`committed_at` integer NOT NULL,
	PRIMARY KEY(`instance`, `boot`, `seq`)
);
--> statement-breakpoint
CREATE INDEX `paramedic_ingest_ledger_committed_at` ON `paramedic_ingest_ledger` (`committed_at`);--> statement-breakpoint
CREATE TABLE `paramedic_last_good_values` (
	`operation` text NOT NULL,
	`key` text NOT NULL,
	`value` text NOT NULL,
	`stored_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	PRIMARY KEY(`operation`, `key`)
);
--> statement-breakpoint
CREATE INDEX `paramedic_last_good_values_expires_at` ON `paramedic_last_good_values` (`expires_at`);--> statement-breakpoint
CREATE TABLE `paramedic_leases` (
	`name` text PRIMARY KEY NOT NULL,
	`owner` text NOT NULL,
	`fence` integer NOT NULL,
	`acquired_at` integer NOT NULL,
	`lease_until` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `paramedic_leases_lease_until` ON `paramedic_leases` (`lease_until`);--> statement-breakpoint
CREATE TABLE `paramedic_maintenance_windows` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`window_id` text NOT NULL,
	`services` text NOT NULL,
	`created_by` text NOT NULL,
	`reason` text NOT NULL,
	`starts_at` integer NOT NULL,
	`ends_at` integer NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_maintenance_windows_window_id_unique` ON `paramedic_maintenance_windows` (`window_id`);--> statement-breakpoint
CREATE INDEX `paramedic_maintenance_windows_ends_at` ON `paramedic_maintenance_windows` (`ends_at`);--> statement-breakpoint
CREATE TABLE `paramedic_rollups` (
	`series_id` integer NOT NULL,
	`resolution_ms` integer NOT NULL,
	`bucket` integer NOT NULL,
	`count` integer NOT NULL,
	`sum` real NOT NULL,
	`min` real NOT NULL,
	`max` real NOT NULL,
	`last` real NOT NULL,
	`last_at` integer NOT NULL,
	`buckets` blob NOT NULL,
	PRIMARY KEY(`series_id`, `resolution_ms`, `bucket`),
	FOREIGN KEY (`series_id`) REFERENCES `paramedic_series`(`id`) ON UPDATE no action ON DELETE no action
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `paramedic_series` (
	`id` integer PRIMARY KEY NOT NULL,
	`metric_type` text NOT NULL,
	`metric_name` text NOT NULL,
	`kind` text NOT NULL,
	`unit` text NOT NULL,
	`source` text NOT NULL,
	`tags` text NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_series_identity` ON `paramedic_series` (`metric_name`,`metric_type`,`source`,`tags`);--> statement-breakpoint
CREATE TABLE `paramedic_notification_outbox` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`dedupe_key` text NOT NULL,
	`alert_id` text NOT NULL,
	`channel` text NOT NULL,
	`payload` text NOT NULL,
	`status` text NOT NULL,
	`attempts` integer NOT NULL,
	`next_attempt_at` integer NOT NULL,
	`lease_until` integer,
	`last_error` text,
	`delivered_at` integer,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`alert_id`) REFERENCES `paramedic_alerts`(`alert_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_notification_outbox_dedupe_key_unique` ON `paramedic_notification_outbox` (`dedupe_key`);--> statement-breakpoint
CREATE INDEX `paramedic_notification_outbox_due` ON `paramedic_notification_outbox` (`channel`,`next_attempt_at`) WHERE status = 'pending';--> statement-breakpoint
CREATE INDEX `paramedic_notification_outbox_alert_id` ON `paramedic_notification_outbox` (`alert_id`);--> statement-breakpoint
CREATE TABLE `paramedic_operator_audit` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`actor` text NOT NULL,
	`action` text NOT NULL,
	`subject` text NOT NULL,
	`reason` text NOT NULL,
	`outcome` text NOT NULL,
	`detail` text
);
--> statement-breakpoint
CREATE INDEX `paramedic_operator_audit_at` ON `paramedic_operator_audit` (`at`);--> statement-breakpoint
CREATE TABLE `recovery_actions` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`action_id` text NOT NULL,
	`failure_event_id` text NOT NULL,
	`timestamp` integer NOT NULL,
	`action_type` text NOT NULL,
	`action_strategy` text NOT NULL,
	`status` text NOT NULL,
	`automated` integer NOT NULL,
	`triggered_by` text NOT NULL,
	`parameters` text,
	`result` text,
	`duration_ms` integer,
	`completed_at` integer,
	`created_at` integer NOT NULL,
	`scope` text NOT NULL,
	`target` text NOT NULL,
	`occurrences` integer NOT NULL,
	`last_at` integer NOT NULL,
	`lease_until` integer,
	`instance` text NOT NULL,
	`dry_run` integer NOT NULL,
	FOREIGN KEY (`failure_event_id`) REFERENCES `failure_events`(`event_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `recovery_actions_action_id_unique` ON `recovery_actions` (`action_id`);--> statement-breakpoint
CREATE UNIQUE INDEX `recovery_actions_fold` ON `recovery_actions` (`failure_event_id`,`action_strategy`,`target`,`status`,`dry_run`) WHERE lease_until is null;--> statement-breakpoint
CREATE INDEX `recovery_actions_repair` ON `recovery_actions` (`failure_event_id`,`action_strategy`,`target`) WHERE lease_until is not null;--> statement-breakpoint
CREATE INDEX `recovery_actions_lease_until` ON `recovery_actions` (`lease_until`) WHERE status in ('initiated', 'in_progress');--> statement-breakpoint
CREATE INDEX `recovery_actions_timestamp` ON `recovery_actions` (`timestamp`);--> statement-breakpoint
CREATE INDEX `recovery_actions_failure_event_id` ON `recovery_actions` (`failure_event_id`,`timestamp`);--> statement-breakpoint
CREATE INDEX `recovery_actions_action_strategy` ON `recovery_actions` (`action_strategy`,`timestamp`);--> statement-breakpoint
CREATE INDEX `recovery_actions_status` ON `recovery_actions` (`status`,`timestamp`);--> statement-breakpoint
CREATE INDEX `recovery_actions_target` ON `recovery_actions` (`target`,`timestamp`);--> statement-breakpoint
CREATE TABLE `paramedic_sessions` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`token_hash` text NOT NULL,
	`actor` text NOT NULL,
	`role` text NOT NULL,
	`created_at` integer NOT NULL,
	`last_seen_at` integer NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_sessions_token_hash_unique` ON `paramedic_sessions` (`token_hash`);--> statement-breakpoint
CREATE INDEX `paramedic_sessions_expires_at` ON `paramedic_sessions` (`expires_at`);--> statement-breakpoint
CREATE TABLE `paramedic_settings` (
	`name` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL,
	`version` integer NOT NULL,
	`updated_by` text NOT NULL,
	`reason` text NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `paramedic_settings_history` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`name` text NOT NULL,
	`value` text,
	`version` integer NOT NULL,
	`changed_by` text NOT NULL,
	`reason` text NOT NULL,
	`changed_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `paramedic_settings_history_name` ON `paramedic_settings_history` (`name`,`changed_at`);--> statement-breakpoint
CREATE INDEX `paramedic_settings_history_changed_at` ON `paramedic_settings_history` (`changed_at`);--> statement-breakpoint
CREATE TABLE `paramedic_silences` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`silence_id` text NOT NULL,
	`matcher` text NOT NULL,
	`created_by` text NOT NULL,
	`reason` text NOT NULL,
	`starts_at` integer NOT NULL,
	`ends_at` integer NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_silences_silence_id_unique` ON `paramedic_silences` (`silence_id`);--> statement-breakpoint
CREATE INDEX `paramedic_silences_ends_at` ON `paramedic_silences` (`ends_at`);--> statement-breakpoint
CREATE TABLE `system_health_baselines` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`metric_type` text NOT NULL,
	`metric_name` text NOT NULL,
	`source` text NOT NULL,
	`time_window` text NOT NULL,
	`mean` real NOT NULL,
	`median` real NOT NULL,
	`std_dev` real NOT NULL,
	`p50` real NOT NULL,
	`p95` real NOT NULL,
	`p99` real NOT NULL,
	`min` real NOT NULL,
	`max` real NOT NULL,
	`sample_count` integer NOT NULL,
	`calculated_at` integer NOT NULL,
	`valid_until` integer NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `system_health_baselines_identity` ON `system_health_baselines` (`metric_name`,`metric_type`,`source`,`time_window`);--> statement-breakpoint
CREATE INDEX `system_health_baselines_valid_until` ON `system_health_baselines` (`valid_until`);--> statement-breakpoint
CREATE TABLE `paramedic_tasks` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`task_id` text NOT NULL,
	`name` text NOT NULL,
	`status` text NOT NULL,
	`owner` text NOT NULL,
	`fence` integer NOT NULL,
	`attempts` integer NOT NULL,
	`detail` text,
	`started_at` integer NOT NULL,
	`heartbeat_at` integer NOT NULL,
	`lease_until` integer NOT NULL,
	`ended_at` integer,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `paramedic_tasks_task_id_unique` ON `paramedic_tasks` (`task_id`);--> statement-breakpoint
CREATE INDEX `paramedic_tasks_stuck` ON `paramedic_tasks` (`lease_until`) WHERE status = 'running';--> statement-breakpoint
CREATE INDEX `paramedic_tasks_started_at` ON `paramedic_tasks` (`started_at`);--> statement-breakpoint
CREATE INDEX `paramedic_tasks_name` ON `paramedic_tasks` (`name`,`started_at`);--> statement-breakpoint
CREATE TABLE `paramedic_write_receipts` (
	`kind` text NOT NULL,
	`id` text NOT NULL,
	`stored_id` text NOT NULL,
	`counted` integer NOT NULL,
	`at` integer NOT NULL,
	PRIMARY KEY(`kind`, `id`)
);
--> statement-breakpoint
CREATE INDEX `paramedic_write_receipts_at` ON `paramedic_write_receipts` (`at`);--> statement-breakpoint
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