import { describe, expect, it } from "vitest";
import { createProcedureFold, durationMetricOf, measuredOf } from "../../shared/top-procedures.js";
import { summaryOf } from "../conformance/store-fixtures.js";

const counted = (times: number) => ({ ...summaryOf([times]), count: times, buckets: [] });

describe("which procedure a metric is of", () => {
  it("is told by its name, whatever the path", () => {
    expect(measuredOf("trpc.users.list.duration")).toEqual({ procedure: "users.list", measured: "duration" });
    expect(measuredOf("trpc._OTHER.failure_count")).toEqual({ procedure: "_OTHER", measured: "failure_count" });
    expect(measuredOf(durationMetricOf("a.duration"))).toEqual({ procedure: "a.duration", measured: "duration" });
  });

  it.each(["trpc.duration", "trpc..duration", "guard.db:main.duration", "trpc.a.first_event", "duration", ""])(
    "is none for %j",
    (metricName) => {
      expect(measuredOf(metricName)).toBeUndefined();
    },
  );
});

describe("top procedures", () => {
  it("count a failure that nobody can name as one of the service, as with the series that overflowed", () => {
    const fold = createProcedureFold();
    fold.add({ metricName: "trpc.ask.failure_count", tags: { overflow: "true" } }, counted(3));
    fold.add({ metricName: "trpc.ask.failure_count", tags: { status: "aborted" } }, counted(2));
    expect(fold.top("errors", 10)).toMatchObject([
      { procedure: "ask", calls: 5, errors: 3, outcomes: { server_error: 3, aborted: 2 } },
    ]);
  });

  it("have no latency where nobody saw a call begin, and then do not stand among the slow", () => {
    const fold = () => {
      const made = createProcedureFold();
      made.add({ metricName: "trpc._OTHER.failure_count", tags: { status: "client_error" } }, counted(7));
      made.add({ metricName: "trpc.ask.success_count", tags: {} }, counted(1));
      made.add({ metricName: "trpc.ask.duration", tags: {} }, summaryOf([20]));
      return made;
    };
    expect(fold().top("calls", 10)).toMatchObject([
      { procedure: "_OTHER", calls: 7, errors: 0, meanMs: undefined, p95Ms: undefined, maxMs: undefined },
      { procedure: "ask", calls: 1, meanMs: 20, p95Ms: 20, maxMs: 20 },
    ]);
    expect(fold().top("latency", 10)).toMatchObject([{ procedure: "ask" }]);
  });
});
