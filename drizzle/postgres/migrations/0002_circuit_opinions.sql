CREATE TABLE "paramedic_circuit_opinions" (
	"circuit_name" text NOT NULL,
	"instance" text NOT NULL,
	"failing" boolean NOT NULL,
	"until" bigint NOT NULL,
	CONSTRAINT "paramedic_circuit_opinions_circuit_name_instance_pk" PRIMARY KEY("circuit_name","instance")
);
--> statement-breakpoint
CREATE INDEX "paramedic_circuit_opinions_until" ON "paramedic_circuit_opinions" USING btree ("until");