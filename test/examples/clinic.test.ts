import { createTRPCClient, httpSubscriptionLink } from "@trpc/client";
import { EventSource } from "eventsource";
import superjson from "superjson";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Note } from "../../examples/clinic/schema.js";
import { type ClinicAppRouter, type ClinicFixture, startClinicFixture } from "./clinic-fixture.js";

const SLOT = new Date(Date.UTC(2026, 0, 5, 9));
const slot = (index: number) => new Date(SLOT.getTime() + index * 900_000);
const question = { question: "What should I bring?" };

/** Rows land a moment after the call that they are about. */
const soon = { timeout: 30_000, interval: 50 };

describe("the clinic with Paramedic", () => {
  let clinic: ClinicFixture;
  const times = (sql: string, ...parameters: unknown[]) => Number(clinic.rows(sql, ...parameters)[0]?.times ?? 0);
  const rescued = (strategy: string, target: string) =>
    times(
      `select sum(occurrences) as times from recovery_actions
       where action_strategy = ? and target = ? and status = 'succeeded'`,
      strategy,
      target,
    );
  const circuit = (name: string) =>
    clinic.rows("select state from circuit_breaker_states where circuit_name = ?", name)[0]?.state;

  beforeAll(async () => {
    clinic = await startClinicFixture();
  });
  afterAll(() => clinic.end());

  it("answers from the preferred provider while everything is well, and books, lists and notes", async () => {
    const client = clinic.client();
    expect(await client.ask.query(question)).toMatchObject({ answeredBy: "anthropic" });
    const booked = await client.appointments.book.mutate({ patientId: 1, doctor: "Dr Lovelace", startsAt: slot(0) });
    expect(await client.appointments.list.query({ doctor: "Dr Lovelace", from: SLOT })).toEqual([booked]);
    expect(await client.notes.add.mutate({ patientId: 1, body: "called back" })).toMatchObject({ body: "called back" });
  });

  it("tells a user that a slot is taken, and takes that for no failure of the clinic", async () => {
    const again = clinic.client().appointments.book.mutate({ patientId: 2, doctor: "Dr Lovelace", startsAt: slot(0) });
    await expect(again).rejects.toMatchObject({ data: { code: "CONFLICT", httpStatus: 409 } });
    await expect
      .poll(
        () =>
          times(
            `select sum(count) as times from system_health_metrics where metric_name = 'trpc.appointments.book.duration'`,
          ),
        soon,
      )
      .toBe(2);
    expect(clinic.rows("select * from failure_events where affected_service like 'trpc.%'")).toEqual([]);
  });

  it("answers from the next provider while the first one is overloaded, and soon stops asking the first", async () => {
    await clinic.behave({ anthropic: { kind: "error", status: 529 } });
    for (let call = 0; call < 12; call += 1) {
      expect(await clinic.client().ask.query(question)).toMatchObject({ answeredBy: "openai" });
    }
    await expect.poll(() => circuit("llm:anthropic"), soon).toBe("open");
    await expect.poll(() => rescued("provider_failover", "llm:openai"), soon).toBe(12);
    expect(
      clinic.rows(
        `select to_state from circuit_transitions where circuit_name = 'llm:anthropic' order by version limit 1`,
      ),
    ).toEqual([{ to_state: "open" }]);
  });

  it("answers from the next provider within the time of a question while the first one hangs", async () => {
    await clinic.behave({ anthropic: { kind: "hang" } });
    const answers = await Promise.all(Array.from({ length: 6 }, () => clinic.client().ask.query(question)));
    expect(new Set(answers.map(({ answeredBy }) => answeredBy))).toEqual(new Set(["openai"]));
  });

  it("goes back to the preferred provider when that one is well again", async () => {
    await clinic.behave();
    await expect.poll(async () => (await clinic.client().ask.query(question)).answeredBy, soon).toBe("anthropic");
    await expect
      .poll(async () => {
        await clinic.client().ask.query(question);
        return circuit("llm:anthropic");
      }, soon)
      .toBe("closed");
  });

  it("books when the lock on its database is gone, and lists meanwhile", async () => {
    const unlock = await clinic.lockDatabase();
    const client = clinic.client();
    let unlocked = false;
    const bookings = Promise.all(
      [1, 2, 3].map(async (index) => {
        await client.appointments.book.mutate({ patientId: 1, doctor: "Dr Hopper", startsAt: slot(index) });
        return unlocked;
      }),
    );
    expect(await client.appointments.list.query({ doctor: "Dr Lovelace", from: SLOT })).toHaveLength(1);
    await expect
      .poll(
        () => times(`select sum(occurrences) as times from failure_events where failure_type = 'database_busy'`),
        soon,
      )
      .toBeGreaterThan(0);
    unlocked = true;
    await unlock();
    expect(await bookings).toEqual([true, true, true]);
    expect(await client.appointments.list.query({ doctor: "Dr Hopper", from: SLOT })).toHaveLength(3);
    await expect.poll(() => rescued("transaction_retry", "db:clinic"), soon).toBeGreaterThan(0);
  });

  it("sends users to the front desk while all providers are dead", async () => {
    await clinic.behave({ anthropic: { kind: "dead" }, openai: { kind: "dead" }, deepseek: { kind: "dead" } });
    for (let call = 0; call < 8; call += 1) {
      expect(await clinic.client().ask.query(question)).toMatchObject({ answeredBy: "front desk" });
    }
    await expect
      .poll(
        () =>
          times(
            `select sum(occurrences) as times from recovery_actions
             where action_type = 'fallback' and status = 'succeeded'`,
          ),
        soon,
      )
      .toBe(8);
    await clinic.behave();
  });

  it("streams notes as they are added, until the client leaves, and measures that as one call", async () => {
    const client = createTRPCClient<ClinicAppRouter>({
      links: [httpSubscriptionLink({ url: `${clinic.url()}/trpc`, transformer: superjson, EventSource })],
    });
    const received = await new Promise<Note>((resolve, reject) => {
      const subscription = client.notes.added.subscribe(
        { patientId: 4 },
        {
          onStarted: () => void clinic.client().notes.add.mutate({ patientId: 4, body: "is better" }).catch(reject),
          onData(note) {
            subscription.unsubscribe();
            resolve(note);
          },
          onError: reject,
        },
      );
    });
    expect(received).toMatchObject({ patientId: 4, body: "is better" });
    await expect
      .poll(
        () =>
          times(
            `select sum(count) as times from system_health_metrics where metric_name = 'trpc.notes.added.duration'`,
          ),
        soon,
      )
      .toBe(1);
  });

  it("tells how it is: to probes, to visitors without details, to the admin in full", async () => {
    expect((await fetch(`${clinic.url()}/livez`)).status).toBe(200);
    await expect.poll(async () => (await fetch(`${clinic.url()}/health`)).status, soon).toBe(200);
    const health = await clinic.client().health.query();
    expect(health.checks.length).toBeGreaterThan(0);
    await expect(clinic.client().paramedic.circuits.list.query()).rejects.toMatchObject({
      data: { code: "FORBIDDEN" },
    });
    const circuits = await clinic.client({ admin: true }).paramedic.circuits.list.query();
    expect(circuits.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["llm:anthropic", "llm:openai", "llm:deepseek"]),
    );
  });
});

describe("the clinic without Paramedic", () => {
  let clinic: ClinicFixture;
  beforeAll(async () => {
    clinic = await startClinicFixture({ paramedic: "off" });
  });
  afterAll(() => clinic.end());

  it("answers while everything is well", async () => {
    const client = clinic.client();
    expect(await client.ask.query(question)).toMatchObject({ answeredBy: "anthropic" });
    expect(
      await client.appointments.book.mutate({ patientId: 1, doctor: "Dr Lovelace", startsAt: SLOT }),
    ).toMatchObject({ doctor: "Dr Lovelace" });
  });

  it("fails its users when its provider is overloaded", async () => {
    await clinic.behave({ anthropic: { kind: "error", status: 529 } });
    await expect(clinic.client().ask.query(question)).rejects.toMatchObject({
      data: { code: "INTERNAL_SERVER_ERROR" },
    });
    await clinic.behave();
  });

  it("fails a booking when its database is locked for longer than SQLite waits", async () => {
    const unlock = await clinic.lockDatabase();
    await expect(
      clinic.client().appointments.book.mutate({ patientId: 1, doctor: "Dr Hopper", startsAt: SLOT }),
    ).rejects.toMatchObject({ data: { code: "INTERNAL_SERVER_ERROR" } });
    await unlock();
  });
});
