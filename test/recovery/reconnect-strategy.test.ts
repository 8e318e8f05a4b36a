import { describe, expect, it } from "vitest";
import { type Reconnectable, ReconnectStrategy } from "../../server/recovery/reconnect-strategy.js";
import { createFakeClock } from "../support/fake-clock.js";
import { aFailure } from "./a-failure.js";

const refused = () => Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
const failure = aFailure({ failureType: "database_connection", affectedService: "db:main" });

function setUp(reconnect: Reconnectable["reconnect"], ping: Reconnectable["ping"] = async () => {}) {
  const clock = createFakeClock();
  const reconnectable = (service: string) => (service === "db:main" ? { reconnect, ping } : undefined);
  return { clock, strategy: new ReconnectStrategy({ clock, reconnectable }) };
}

describe("ReconnectStrategy", () => {
  it("applies to a lost connection of what can be reconnected, and to nothing else", () => {
    const { strategy } = setUp(async () => {});
    expect(strategy.applicableFailureTypes).toEqual(["database_connection"]);
    expect(strategy.appliesTo(failure)).toBe(true);
    expect(strategy.appliesTo({ ...failure, affectedService: "db:sqlite" })).toBe(false);
  });

  it("succeeds once a new connection answers, and proves it by one more question", async () => {
    let pings = 0;
    const { strategy } = setUp(
      async () => {},
      () => {
        pings += 1;
      },
    );
    expect(await strategy.execute(failure)).toMatchObject({
      success: true,
      actionType: "reconnect",
      message: "a new connection to db:main answers",
      metadata: { attempts: 1 },
    });
    expect(await strategy.verify(failure)).toBe(true);
    expect(pings).toBe(1);
  });

  it("keeps trying while the database comes back", async () => {
    let attempts = 0;
    const { strategy, clock } = setUp(async () => {
      attempts += 1;
      if (attempts < 4) throw refused();
    });
    const running = strategy.execute(failure);
    await clock.advance(250 + 500 + 1_000);
    expect(await running).toMatchObject({ success: true, metadata: { attempts: 4 } });
  });

  it("says that it failed when the database does not come back in time", async () => {
    const { strategy, clock } = setUp(() => Promise.reject(refused()));
    const running = strategy.execute(failure);
    await clock.advance(20_000);
    expect(await running).toMatchObject({ success: false, message: "connect ECONNREFUSED" });
    expect(clock.pendingTimers).toBe(0);
  });

  it("does not try again what cannot help: a pool that the app has closed, a refused account", async () => {
    for (const error of [
      new Error("Cannot use a pool after calling end on the pool"),
      Object.assign(new Error("password authentication failed"), { code: "28P01", severity: "FATAL" }),
    ]) {
      const { strategy } = setUp(() => Promise.reject(error));
      expect(await strategy.execute(failure)).toMatchObject({ success: false, metadata: { attempts: 1 } });
    }
  });

  it("does not claim success when nothing answers afterwards", async () => {
    const { strategy } = setUp(
      async () => {},
      () => Promise.reject(refused()),
    );
    await strategy.execute(failure);
    await expect(strategy.verify(failure)).rejects.toThrow("ECONNREFUSED");
  });
});
