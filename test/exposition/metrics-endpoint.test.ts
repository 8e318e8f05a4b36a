/** `/metrics` of a composed Paramedic over real HTTP: who may read it, in which format, and what it says. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { initTRPC, TRPCError } from "@trpc/server";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import {
  createParamedic,
  type ExpressOptions,
  type OperatorAlert,
  type Paramedic,
  type ParamedicOptions,
} from "../../server/index.js";
import { promtoolProblems } from "../services/prometheus.js";

const READ = "r".repeat(40);
const OPERATE = "o".repeat(40);
const OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

let folder: string;
const running: Paramedic[] = [];
const servers: Server[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-metrics-"));
});
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await Promise.all(running.splice(0).map((paramedic) => paramedic.shutdown()));
  rmSync(folder, { recursive: true, force: true });
});

async function start(
  variables: Record<string, string> = {},
  options?: ExpressOptions,
  more: Pick<ParamedicOptions, "onOperatorAlert"> = {},
) {
  const environment = readEnvironment({
    PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}`,
    RECOVERY_RETRY_BASE_DELAY_MS: "1",
    RECOVERY_RETRY_MAX_DELAY_MS: "5",
    ...variables,
  });
  const paramedic = createParamedic({ logger: false, instance: "web-1", overrides: { environment }, ...more });
  running.push(paramedic);
  await paramedic.ready;
  const handler = paramedic.express(options);
  const server = createServer((request, response) =>
    handler(request, response, () => response.writeHead(404).end("the app's own")),
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const base = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  const get = (headers: Record<string, string> = {}, path = "/metrics", method = "GET") =>
    fetch(base + path, { method, headers });
  return { paramedic, get };
}

const as = (token: string) => ({ authorization: `Bearer ${token}` });

/** Whether `/health` tells messages and metadata. */
async function tellsDetails({ paramedic, get }: Awaited<ReturnType<typeof start>>): Promise<boolean> {
  paramedic.health.register("ledger", () => ({ status: "healthy", message: "answers from 10.0.0.5" }));
  await paramedic.health.executeAll();
  return (await (await get({}, "/health")).text()).includes("10.0.0.5");
}

describe("who may read /metrics, and details in /health", () => {
  it("in an app without tokens nobody: the path is the app's own", async () => {
    const app = await start();
    const { get } = app;
    expect(await tellsDetails(app)).toBe(false);
    expect((await get()).status).toBe(404);
    expect(await (await get()).text()).toBe("the app's own");
  });

  it("in an app with tokens whoever sends one, and not loopback alone", async () => {
    const { get } = await start({ PARAMEDIC_READ_TOKEN: READ, PARAMEDIC_OPERATOR_TOKEN: OPERATE });
    expect((await get(as(READ))).status).toBe(200);
    expect((await get(as(OPERATE))).status).toBe(200);
    expect((await get(as("x".repeat(40)))).status).toBe(401);
    const refused = await get();
    expect(refused.status).toBe(401);
    expect(refused.headers.get("www-authenticate")).toContain("Bearer");
    expect(await refused.text()).not.toContain("paramedic_");
  });

  it("with only an operator's token, loopback does not read either", async () => {
    const { get } = await start({ PARAMEDIC_OPERATOR_TOKEN: OPERATE });
    expect((await get()).status).toBe(401);
    expect((await get(as(OPERATE))).status).toBe(200);
  });

  it("where loopback is trusted, this machine, unless a read token is set or the request was forwarded", async () => {
    const open = await start({}, { metricsFor: "loopback" });
    expect((await open.get()).status).toBe(200);
    expect(await tellsDetails(open)).toBe(true);
    for (const [header, value] of Object.entries({ "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https" })) {
      expect((await open.get({ [header]: value })).status, header).toBe(401);
    }
    const closed = await start({ PARAMEDIC_READ_TOKEN: READ }, { metricsFor: "loopback" });
    expect((await closed.get()).status).toBe(401);
  });

  it("is left to the app when self-healing is off", async () => {
    const { get } = await start({ SELF_HEALING_ENABLED: "false", PARAMEDIC_READ_TOKEN: READ });
    expect((await get(as(READ))).status).toBe(404);
  });
});

/** What resilience4j's binder for Micrometer registers of one circuit breaker, as a Prometheus registry names it. */
function resilience4jMeters(name: string): readonly string[] {
  const of = (meter: string, label: string, values: readonly string[]) =>
    values.map((value) => `${meter}{${[`${label}="${value}"`, `name="${name}"`].sort().join(",")}}`);
  const [judged, timed] = [
    ["successful", "failed"],
    ["successful", "failed", "ignored"],
  ];
  return [
    ...of("state", "state", ["closed", "open", "half_open", "forced_open", "disabled", "metrics_only"]),
    ...["buffered_calls", "slow_calls"].flatMap((meter) => of(meter, "kind", judged)),
    ...["failure_rate", "slow_call_rate"].map((meter) => `${meter}{name="${name}"}`),
    ...["count", "sum", "max"].flatMap((part) => of(`calls_seconds_${part}`, "kind", timed)),
    ...of("not_permitted_calls_total", "kind", ["not_permitted"]),
  ];
}

describe("what /metrics says", () => {
  it("speaks the format that was asked for, and is never cached", async () => {
    const { get } = await start({ PARAMEDIC_READ_TOKEN: READ });
    const text = await get(as(READ));
    expect(text.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(text.headers.get("cache-control")).toContain("no-store");
    const modern = await get({ ...as(READ), accept: OPENMETRICS });
    expect(modern.headers.get("content-type")).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
    expect((await modern.text()).endsWith("\n# EOF\n")).toBe(true);
    const unknownVersion = await get({ ...as(READ), accept: "application/openmetrics-text;version=9.0.0" });
    expect(unknownVersion.headers.get("content-type")).toContain("text/plain");
    const head = await get(as(READ), "/metrics", "HEAD");
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect((await get(as(READ), "/metrics", "POST")).status).toBe(405);
  });

  it("shows calls, circuits, pipeline, failures and what was done, without a word from promtool", async () => {
    const { paramedic, get } = await start({ PARAMEDIC_READ_TOKEN: READ });
    const t = initTRPC.create();
    const procedure = t.procedure.use(paramedic.middleware());
    const weather = paramedic.guard("http:weather", { failureThreshold: 2 });
    const api = t.createCallerFactory(
      t.router({
        good: procedure.query(() => "good"),
        refused: procedure.query(() => {
          throw new TRPCError({ code: "NOT_FOUND" });
        }),
        weather: procedure.query(() =>
          weather.execute(() => Promise.reject(Object.assign(new Error("503"), { status: 503 }))),
        ),
      }),
    )({});
    for (let call = 0; call < 7; call += 1) await api.good();
    await expect(api.refused()).rejects.toThrow();
    for (let call = 0; call < 3; call += 1) await expect(api.weather()).rejects.toThrow();
    paramedic.metrics.record({ metricType: "custom", metricName: "orders_total", value: Number.NaN });
    const body = await (await get(as(READ))).text();
    const lines = body.split("\n");
    expect(lines).toContain(
      'rpc_server_call_duration_seconds_count{outcome="success",rpc_method="good",rpc_system_name="trpc"} 7',
    );
    expect(lines).toContain(
      'paramedic_procedure_calls_total{error_type="NOT_FOUND",outcome="client_error",rpc_method="refused"} 1',
    );
    expect(lines).toContain('paramedic_circuit_state{circuit="http:weather",state="open"} 1');
    expect(lines).toContain('paramedic_circuit_state{circuit="http:weather",state="closed"} 0');
    expect(lines).toContain(
      'paramedic_circuit_transitions_total{circuit="http:weather",from="closed",reason="failure_threshold",to="open"} 1',
    );
    expect(lines).toContain('paramedic_pipeline_dropped_points_total{reason="not_finite"} 1');
    expect(lines).toContain('paramedic_instance_info{instance="web-1"} 1');
    expect(lines).toContain("paramedic_store_open 1");
    expect(body).toMatch(/^paramedic_failures_total\{.*service="http:weather".*\} 2$/m);
    expect(body).toMatch(/^process_cpu_seconds_total \d/m);
    expect(body).not.toContain("resilience4j");
    expect(promtoolProblems(body)).toBe("");
  });

  it("shows what became of stream entries, and how long handing them to the store held the event loop", async () => {
    const { paramedic, get } = await start({ PARAMEDIC_READ_TOKEN: READ });
    paramedic.metrics.record({ metricType: "custom", metricName: "orders_total", value: 1 });
    const page = async () => (await get(as(READ))).text();
    await expect.poll(page).toMatch(/^paramedic_pipeline_entries_total\{outcome="folded"\} [1-9]/m);
    const body = await page();
    expect(body).toMatch(/^paramedic_pipeline_entries_total\{outcome="dead"\} 0$/m);
    expect(body).toMatch(/^paramedic_pipeline_commit_block_seconds_count [1-9]/m);
    expect(body).toMatch(/^paramedic_pipeline_commit_block_seconds_bucket\{le="0.001"\} \d/m);
    expect(promtoolProblems(body)).toBe("");
  });

  it("counts rescues as they end", async () => {
    const { paramedic, get } = await start({ PARAMEDIC_READ_TOKEN: READ });
    let attempts = 0;
    const read = paramedic.operation("read", {
      targets: {
        "http:weather": async () => {
          attempts += 1;
          if (attempts === 1) throw Object.assign(new Error("503"), { status: 503 });
          return "sunny";
        },
      },
      idempotent: true,
    });
    expect(await read()).toBe("sunny");
    expect(await (await get(as(READ))).text()).toMatch(
      /^paramedic_recovery_actions_total\{.*scope="call",status="succeeded",strategy="exponential_backoff_retry".*\} 1$/m,
    );
  });

  const refuseKey = async (paramedic: Paramedic) => {
    const refused = Object.assign(new Error("no such key"), { status: 401 });
    const call = paramedic.guard("llm:openai").execute(() => Promise.reject(refused));
    await expect(call).rejects.toThrow("no such key");
  };
  const oneAlert = /^paramedic_alerts_total\{rule="alert_operator",severity="high",status="firing"\} 1$/m;

  it("counts the alerts that the app tells somebody itself", async () => {
    const told: string[] = [];
    const onOperatorAlert = ({ service }: OperatorAlert) => void told.push(service);
    const { paramedic, get } = await start({ PARAMEDIC_READ_TOKEN: READ }, undefined, { onOperatorAlert });
    await refuseKey(paramedic);
    await expect.poll(() => told).toEqual(["llm:openai"]);
    expect(await (await get(as(READ))).text()).toMatch(oneAlert);
  });

  it("counts the alerts that somebody is told, and shows health and recovery as they stand", async () => {
    const { paramedic, get } = await start({ PARAMEDIC_READ_TOKEN: READ });
    await refuseKey(paramedic);
    const page = async () => (await get(as(READ))).text();
    await expect.poll(page).toMatch(oneAlert);
    await expect.poll(page).toMatch(/^paramedic_health_check_status\{.*status="healthy"\} 1$/m);
    const body = await page();
    expect(body).toMatch(/^paramedic_health_status\{status="[a-z]+"\} 1$/m);
    expect(body).toMatch(/^paramedic_health_check_duration_seconds\{check="[^"]+"\} \d/m);
    expect(body).toMatch(/^paramedic_recovery_repairs\{state="running"\} \d/m);
  });

  it("shows circuits under resilience4j's names on request", async () => {
    const { paramedic, get } = await start({ PARAMEDIC_READ_TOKEN: READ });
    const weather = paramedic.guard("http:weather", {
      window: "count",
      windowCalls: 10,
      minimumCalls: 4,
      failureRatio: 0.9,
    });
    const cut = Object.assign(new Error("503"), { status: 503 });
    const fails = () => expect(weather.execute(() => Promise.reject(cut))).rejects.toThrow();
    await weather.execute(async () => "sunny");
    await fails();
    const page = async () => (await get(as(READ), "/metrics?also=resilience4j")).text();
    expect((await page()).split("\n")).toEqual(
      expect.arrayContaining([
        'resilience4j_circuitbreaker_failure_rate{name="http:weather"} -1',
        'resilience4j_circuitbreaker_slow_call_rate{name="http:weather"} -1',
      ]),
    );
    await weather.execute(async () => "rain");
    await fails();
    const storm = paramedic.guard("http:storm", { failureThreshold: 1 });
    await expect(storm.execute(() => Promise.reject(cut))).rejects.toThrow();
    await expect(storm.execute(async () => "never")).rejects.toThrow();
    const slow = paramedic.guard("http:slow", { window: "count", minimumCalls: 3, slowCallMs: 1, slowCallRatio: 1 });
    await slow.execute(() => pause(5));
    await slow.execute(() => pause(5));
    await expect(slow.execute(() => pause(5).then(() => Promise.reject(cut)))).rejects.toThrow();
    const body = await page();
    const own = (name: string, labels: string, value: number | string) =>
      `resilience4j_circuitbreaker_${name}{${labels}} ${value}`;
    const weatherLines = body.match(/^resilience4j_.*name="http:weather".*$/gm) ?? [];
    const meters = weatherLines.map((line) => line.slice("resilience4j_circuitbreaker_".length).replace(/ \S+$/, ""));
    expect(new Set(meters.filter((meter) => !meter.startsWith("calls_seconds_bucket")))).toEqual(
      new Set(resilience4jMeters("http:weather")),
    );
    expect(body.split("\n")).toEqual(
      expect.arrayContaining([
        own("state", 'name="http:weather",state="closed"', 1),
        own("state", 'name="http:weather",state="open"', 0),
        own("state", 'name="http:storm",state="open"', 1),
        own("calls_seconds_count", 'kind="successful",name="http:weather"', 2),
        own("calls_seconds_count", 'kind="failed",name="http:weather"', 2),
        own("buffered_calls", 'kind="successful",name="http:weather"', 2),
        own("buffered_calls", 'kind="failed",name="http:weather"', 2),
        own("slow_calls", 'kind="successful",name="http:slow"', 2),
        own("slow_calls", 'kind="failed",name="http:slow"', 1),
        own("slow_call_rate", 'name="http:slow"', 100),
        own("failure_rate", 'name="http:slow"', 100 * (1 / 3)),
        own("state", 'name="http:slow",state="open"', 1),
        own("calls_seconds_count", 'kind="ignored",name="http:weather"', 0),
        own("not_permitted_calls_total", 'kind="not_permitted",name="http:weather"', 0),
        own("failure_rate", 'name="http:storm"', 100),
        own("buffered_calls", 'kind="failed",name="http:storm"', 1),
        own("buffered_calls", 'kind="successful",name="http:storm"', 0),
        own("failure_rate", 'name="http:weather"', 50),
        own("slow_call_rate", 'name="http:weather"', 0),
        own("not_permitted_calls_total", 'kind="not_permitted",name="http:storm"', 1),
      ]),
    );
    expect(body).toMatch(/^resilience4j_circuitbreaker_calls_seconds_max\{kind="failed",name="http:weather"\} \d/m);
    expect(promtoolProblems(body)).toBe("");
  });
});
