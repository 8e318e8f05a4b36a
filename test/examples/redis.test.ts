import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RedisServer, startRedis } from "../services/redis-server.js";
import { type ClinicFixture, startClinicFixture } from "./clinic-fixture.js";

const question = { question: "Is the clinic open on Friday?" };
const soon = { timeout: 30_000, interval: 50 };

describe("a clinic whose measurements go through Redis", { timeout: 120_000 }, () => {
  let redis: RedisServer;
  let clinic: ClinicFixture;
  let made = 0;
  const ask = async (calls: number) => {
    for (let call = 0; call < calls; call += 1) {
      expect(await clinic.client().ask.query(question)).toMatchObject({ answeredBy: "anthropic" });
      made += 1;
    }
  };
  const seen = () =>
    clinic.rows("select sum(count) as calls from system_health_metrics where metric_name = 'trpc.ask.duration'")[0]
      ?.calls;

  beforeAll(async () => {
    redis = await startRedis();
    clinic = await startClinicFixture({ env: { PARAMEDIC_REDIS_URL: redis.url } });
  });
  afterAll(async () => {
    await clinic.end();
    await redis.stop();
  });

  it("answers while Redis is dead, and has counted every call when Redis is back, and when it is not", async () => {
    await ask(5);
    await expect.poll(seen, soon).toBe(made);

    await redis.kill();
    await ask(5);
    await redis.restart();
    await ask(5);
    await expect.poll(seen, soon).toBe(made);

    await redis.kill();
    await ask(5);
    await clinic.closeClinic();
    expect(seen()).toBe(made);
    const [books] = clinic.rows(
      "select sum(recorded) as recorded, sum(points) as rolled_up, sum(batches) as batches from paramedic_ingest_boots",
    );
    expect(Number(books?.recorded)).toBeGreaterThanOrEqual(Number(books?.rolled_up));
    expect(Number(books?.rolled_up)).toBeGreaterThan(made);
  });
});
