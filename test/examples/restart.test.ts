import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ClinicFixture, startClinicFixture } from "./clinic-fixture.js";

const question = { question: "When do I have to be there?" };
const soon = { timeout: 30_000, interval: 50 };

describe("a clinic that is killed in the middle of an outage and started again", { timeout: 120_000 }, () => {
  let clinic: ClinicFixture;
  const circuits = () =>
    clinic.rows("select circuit_name, state, version, opened_at from circuit_breaker_states order by circuit_name");
  const unfinished = () => clinic.rows("select * from recovery_actions where status in ('initiated', 'in_progress')");

  beforeAll(async () => {
    clinic = await startClinicFixture({ env: { CIRCUIT_BREAKER_RESET_TIMEOUT_MS: "120000" } });
  });
  afterAll(() => clinic.end());

  it("has its circuits as they were, asks no provider that was known to be down, and leaves no recovery in progress", async () => {
    await clinic.behave({ anthropic: { kind: "error", status: 529 } });
    for (let call = 0; call < 10; call += 1) await clinic.client().ask.query(question);
    await expect.poll(() => circuits().find((row) => row.circuit_name === "llm:anthropic")?.state, soon).toBe("open");
    await expect.poll(() => clinic.rows("select 1 from failure_events"), soon).not.toEqual([]);
    const before = circuits();
    const asked = await clinic.requestsTo("anthropic");

    const underWay = Array.from({ length: 5 }, () =>
      clinic
        .client()
        .ask.query(question)
        .catch(() => undefined),
    );
    await clinic.killClinic();
    await Promise.all(underWay);
    leaveRepairInProgress(join(clinic.folder, "paramedic.db"));
    await clinic.restartClinic();

    // Calls wait a second for the stored circuits; a busy machine may need longer to start than that.
    const admin = clinic.client({ admin: true }).paramedic;
    const state = async () => (await admin.circuits.get.query({ name: "llm:anthropic" })).state;
    await expect.poll(state, soon).toBe("open");
    expect(await clinic.client().ask.query(question)).toMatchObject({ answeredBy: "openai" });
    expect(await clinic.requestsTo("anthropic")).toBe(asked);
    expect(circuits()).toEqual(before);
    await expect.poll(unfinished, soon).toEqual([]);
    expect(clinic.rows("select status from recovery_actions where action_id = 'cut-off'")).toEqual([
      { status: "abandoned" },
    ]);
  });
});

/** The row of a repair whose process was killed between its lease and its end, a moment too short to hit by chance. */
function leaveRepairInProgress(database: string): void {
  const sqlite = new Database(database);
  sqlite
    .prepare(
      `insert into recovery_actions (action_id, failure_event_id, timestamp, action_type, action_strategy, status,
         automated, triggered_by, created_at, scope, target, occurrences, last_at, lease_until, instance, dry_run)
       select 'cut-off', event_id, timestamp, 'reconnect', 'reconnect', 'in_progress', 1, 'engine', timestamp, 'service',
         affected_service, 1, timestamp, timestamp, instance, 0 from failure_events limit 1`,
    )
    .run();
  sqlite.close();
}
