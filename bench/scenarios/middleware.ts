/** What middleware and router instrumentation add to a procedure, beside an empty `.use()` and ones by hand on prom-client and OpenTelemetry. */
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { initTRPC } from "@trpc/server";
import { Counter, Histogram, Registry } from "prom-client";
import { createAsyncCallContext } from "../../server/adapters/async-call-context.js";
import { createInstrumentation } from "../../server/instrumentation/instrumentation.js";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock } from "../../server/ports/clock.js";
import { systemIds } from "../../server/ports/ids.js";
import { noJournal } from "../../server/ports/journal.js";
import { additionRatioOf, atMost, compare, find, type Group, type Scenario } from "../harness.js";
import { ReaderNobodyAsks } from "../reader-nobody-asks.js";

const t = initTRPC.create();

function promClient() {
  const registers = [new Registry()];
  const labelNames = ["path", "type", "status"];
  const duration = new Histogram({ name: "trpc_duration_seconds", help: "bench", labelNames, registers });
  const calls = new Counter({ name: "trpc_calls_total", help: "bench", labelNames, registers });
  return t.middleware(async ({ path, type, next }) => {
    const startedAt = performance.now();
    const result = await next();
    const labels = { path, type, status: result.ok ? "success" : "error" };
    duration.observe(labels, (performance.now() - startedAt) / 1_000);
    calls.inc(labels);
    return result;
  });
}

function openTelemetry() {
  const meter = new MeterProvider({ readers: [new ReaderNobodyAsks()] }).getMeter("bench");
  const duration = meter.createHistogram("rpc.server.call.duration", { unit: "s" });
  const calls = meter.createCounter("trpc.calls");
  return t.middleware(async ({ path, type, next }) => {
    const startedAt = performance.now();
    const result = await next();
    const attributes = { "rpc.method": path, type, status: result.ok ? "success" : "error" };
    duration.record((performance.now() - startedAt) / 1_000, attributes);
    calls.add(1, attributes);
    return result;
  });
}

const template = Object.fromEntries(Array.from({ length: 8 }, (_, at) => [`key${at}`, { at, text: `value ${at}` }]));
/** Allocates as calls do, and awaits nothing: call linking leaves it as it was. */
const yardstick = {
  name: "copying 8 small objects",
  run: () => Object.entries(template).map(([key, value]) => ({ ...value, key })),
};

export const middleware: Scenario = {
  name: "middleware",
  processes: 5,
  async run() {
    const callContext = createAsyncCallContext();
    const { middleware: ours, instrument } = createInstrumentation({
      sink: new Collector({ clock: systemClock, stream: undefined, instance: "bench", boot: "bench" }),
      journal: noJournal,
      callContext,
      clock: systemClock,
      ids: systemIds,
      onFault(error) {
        throw error;
      },
    });
    const { procedure } = t;
    const router = t.router({
      none: procedure.query(() => 1),
      empty: procedure.use(({ next }) => next()).query(() => 1),
      ours: procedure.use(ours).query(() => 1),
      otel: procedure.use(openTelemetry()).query(() => 1),
      prom: procedure.use(promClient()).query(() => 1),
    });
    const caller = t.createCallerFactory(router)({});
    const instrumented = t.createCallerFactory(instrument(t.router({ none: router.none })))({});
    const none = { name: "no .use() at all", run: () => caller.none() };
    const wrapped = { name: "paramedic.instrument(router)", run: () => instrumented.none() };
    const contenders = [
      { name: "paramedic", run: () => caller.ours() },
      { name: "prom-client by hand", run: () => caller.prom() },
      { name: "OpenTelemetry by hand", run: () => caller.otel() },
      none,
    ];
    const empty = { name: "empty .use()", run: () => caller.empty() };
    const plain = await compare("middleware, a call in process", empty, [...contenders, yardstick]);
    const wrap = await compare("router, a call in process", none, [
      wrapped,
      { name: "paramedic .use()", run: () => caller.ours() },
      yardstick,
    ]);
    // From the first linked call on, every await of this process is slower: so this comes last.
    callContext.enable();
    const linked = await compare("middleware, calls linked to guards", empty, [...contenders.slice(0, 1), yardstick]);
    const wrapLinked = await compare("router, calls linked to guards", none, [wrapped, yardstick]);
    const linking = find(linked, "paramedic").nsPerOp - find(plain, "paramedic").nsPerOp * driftBetween(plain, linked);
    // Beside the calls as they were before linking: every await of the process pays for it, the baseline's too.
    const linkedToNone =
      find(wrapLinked, wrapped.name).nsPerOp / (find(wrap, none.name).nsPerOp * driftBetween(wrap, wrapLinked));
    return {
      groups: [plain, wrap, linked, wrapLinked],
      budgets: [
        atMost(
          "middleware's addition to prom-client's",
          additionRatioOf(plain, "paramedic", "prom-client by hand"),
          0.4,
        ),
        atMost(
          "middleware's addition to OpenTelemetry's",
          additionRatioOf(plain, "paramedic", "OpenTelemetry by hand"),
          1 / 6,
        ),
        atMost("instrument(router), to no instrumentation", find(wrap, wrapped.name).ratio, 1.1),
        atMost("  with call linking, to none without", linkedToNone, 1.5),
        atMost("call linking, more than without", linking, 5_000, "ns"),
      ],
      notes: [
        "middleware: additions are above an empty pass-through .use(); each counts calls and their duration by path, type and status. " +
          "Linked and unlinked calls cannot take turns in one process: they are compared by the copying that both took turns with.",
      ],
    };
  },
};

/** How much slower the machine was in the second group than in the first. */
function driftBetween(first: Group, second: Group): number {
  return find(second, yardstick.name).nsPerOp / find(first, yardstick.name).nsPerOp;
}
