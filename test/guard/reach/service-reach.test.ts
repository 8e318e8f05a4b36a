import { describe, expect, it } from "vitest";
import { ServiceReach } from "../../../server/guard/reach/service-reach.js";
import { createFakeClock } from "../../support/fake-clock.js";

describe("the reach of procedures", () => {
  it("counts each procedure at each service, and knows when it asked last", async () => {
    const clock = createFakeClock();
    const reach = new ServiceReach();
    const openai = reach.callersOf("llm:openai");
    const main = reach.callersOf("db:main");
    openai.asked("ask", clock.monotonic());
    openai.asked("ask", clock.monotonic());
    await clock.advance(5_000);
    openai.asked("summaries.make", clock.monotonic());
    openai.asked("ask", clock.monotonic());
    main.asked("ask", clock.monotonic());
    const at = clock.now();
    await clock.advance(60_000);
    expect(reach.uses(clock)).toEqual([
      { procedure: "ask", service: "db:main", count: 1, lastSeenAt: at },
      { procedure: "ask", service: "llm:openai", count: 3, lastSeenAt: at },
      { procedure: "summaries.make", service: "llm:openai", count: 1, lastSeenAt: at },
    ]);
  });

  it("names the procedures of a service in order, and none of a service that nobody asked", () => {
    const reach = new ServiceReach();
    const callers = reach.callersOf("db:main");
    for (const path of ["users.list", "ask", "users.list"]) callers.asked(path, 0);
    expect(reach.proceduresOf("db:main")).toEqual(["ask", "users.list"]);
    expect(reach.proceduresOf("db:other")).toEqual([]);
  });

  it("keeps at most 5,000 uses over all services, goes on with those it has, and counts the others", () => {
    const clock = createFakeClock();
    const reach = new ServiceReach();
    for (let id = 0; id < 6_000; id += 1) reach.callersOf(`http:tenant-${id}`).asked("sync", 0);
    reach.callersOf("http:tenant-0").asked("sync", 0);
    const uses = reach.uses(clock);
    expect(uses).toHaveLength(5_000);
    expect(uses.find(({ service }) => service === "http:tenant-0")?.count).toBe(2);
    expect(reach.unlisted).toBe(1_000);
  });
});
