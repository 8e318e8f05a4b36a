CREATE TABLE `paramedic_circuit_opinions` (
	`circuit_name` text NOT NULL,
	`instance` text NOT NULL,
	`failing` integer NOT NULL,
	`until` integer NOT NULL,
	PRIMARY KEY(`circuit_name`, `instance`)
);
--> statement-breakpoint
CREATE INDEX `paramedic_circuit_opinions_until` ON `paramedic_circuit_opinions` (`until`);