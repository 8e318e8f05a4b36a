/** The bridge against OpenTelemetry's own API and SDK. */
import { AsyncLocalStorage } from "node:async_hooks";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as openTelemetry from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { initTRPC } from "@trpc/server";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type OpenTelemetryApi, type Paramedic } from "../../server/index.js";

const TRACE = "0af7651916cd43dd8448eb211c80319c";

class AsyncContextManager implements openTelemetry.ContextManager {
  readonly #storage = new AsyncLocalStorage<openTelemetry.Context>();
  active = () => this.#storage.getStore() ?? openTelemetry.ROOT_CONTEXT;
  bind = <T>(_context: openTelemetry.Context, target: T): T => target;
  enable = () => this;
  disable = () => this;
  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    context: openTelemetry.Context,
    fn: F,
    self?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.#storage.run(context, () => fn.apply(self, args));
  }
}

let folder: string;
let paramedic: Paramedic | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-otel-"));
});
afterEach(async () => {
  await paramedic?.shutdown();
  rmSync(folder, { recursive: true, force: true });
  openTelemetry.metrics.disable();
  openTelemetry.context.disable();
});

function start(api: OpenTelemetryApi) {
  const environment = readEnvironment({ PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}` });
  const made = createParamedic({ logger: false, openTelemetry: api, overrides: { environment } });
  paramedic = made;
  const t = initTRPC.create();
  const procedure = t.procedure.use(made.middleware());
  const caller = t.createCallerFactory(
    t.router({
      good: procedure.query(() => "good"),
      broken: procedure.query(() => {
        throw new Error("broken");
      }),
    }),
  )({});
  return { paramedic: made, caller };
}

describe("the OpenTelemetry bridge", () => {
  it("shows calls and our own state as instruments of the app's SDK", async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const provider = new MeterProvider({
      readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
    });
    openTelemetry.metrics.setGlobalMeterProvider(provider);
    const { paramedic: made, caller } = start(openTelemetry);
    await made.ready;
    made.circuits.getOrCreate("http:weather");
    for (let call = 0; call < 5; call += 1) await caller.good();
    await expect(caller.broken()).rejects.toThrow("broken");
    made.metrics.record({ metricType: "custom", metricName: "orders_total", value: 3, tags: { shop: "a" } });
    made.metrics.record({ metricType: "custom", metricName: "orders_total", value: Number.NaN });
    await provider.forceFlush();
    const metrics = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    await provider.shutdown();
    const points = (name: string) => metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];

    const calls = points("rpc.server.call.duration");
    expect(calls.map(({ attributes }) => attributes)).toEqual([
      { "rpc.system.name": "trpc", "rpc.method": "good", outcome: "success" },
      { "rpc.system.name": "trpc", "rpc.method": "broken", outcome: "server_error", "error.type": "procedure_error" },
    ]);
    expect(calls[0]?.value).toMatchObject({ count: 5, buckets: { boundaries: expect.arrayContaining([0.005, 10]) } });
    expect(points("orders_total")).toMatchObject([{ value: 3, attributes: { shop: "a" } }]);
    expect(points("paramedic.circuit_state")).toContainEqual(
      expect.objectContaining({ value: 1, attributes: { circuit: "http:weather", state: "closed" } }),
    );
    expect(points("paramedic.pipeline_recorded_points")[0]?.value).toBeGreaterThan(0);
    // The pipeline of our own has them too.
    expect((await made.metrics.accounting()).recorded).toBeGreaterThan(6);
  });

  it("keeps the trace of the active span on failure events, and nothing where there is none", async () => {
    openTelemetry.context.setGlobalContextManager(new AsyncContextManager());
    const { paramedic: made, caller } = start(openTelemetry);
    await made.ready;
    const span = openTelemetry.trace.wrapSpanContext({ traceId: TRACE, spanId: "b7ad6b7169203331", traceFlags: 1 });
    const inSpan = openTelemetry.trace.setSpan(openTelemetry.ROOT_CONTEXT, span);
    const traces = async () =>
      (await made.store.listFailures({ limit: 10 })).items.map(({ context }) => context?.traceId);
    await openTelemetry.context.with(inSpan, () => caller.broken().catch(() => {}));
    await expect.poll(traces).toEqual([TRACE]);
  });

  it.each([[{}], [{ metrics: {}, trace: {} }], [3]])("refuses %j, which is not the module", (wrong) => {
    const given: object = { logger: false, openTelemetry: wrong };
    expect(() => createParamedic(given)).toThrow(/openTelemetry: .*/);
  });

  it("lets no fault of an SDK into a call", async () => {
    const broken = (): never => {
      throw new Error("the SDK is broken");
    };
    const instrument = () => ({ add: broken, record: broken, addCallback: broken, removeCallback: broken });
    const { paramedic: made, caller } = start({
      metrics: {
        getMeter: () => ({
          createCounter: instrument,
          createHistogram: instrument,
          createGauge: instrument,
          createObservableCounter: instrument,
          createObservableGauge: instrument,
        }),
      },
      trace: { getActiveSpan: broken },
    });
    expect(await caller.good()).toBe("good");
    await expect(caller.broken()).rejects.toThrow("broken");
    expect(made.faults().OpenTelemetry).toBeGreaterThan(0);
  });
});
