/** A real Prometheus for tests: its checker, and a server that scrapes; from PATH, else unpacked from Debian's package. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { executableOnPath, unpackDebianPackages } from "./debian-packages.js";
import { freePort } from "./redis-server.js";

const CACHE = fileURLToPath(new URL("../../node_modules/.cache/paramedic/prometheus", import.meta.url));
const HOW_TO_GET_IT = "tests need Prometheus and promtool: install them (2.40 or newer)";

export interface ScrapeTarget {
  readonly job: string;
  /** `host:port`. */
  readonly address: string;
}

export interface PrometheusServer {
  /** The series that a query gives now. */
  query(
    expression: string,
  ): Promise<readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[]>;
  /** What went wrong at the last scrape of each job; empty where nothing did. */
  lastErrors(): Promise<Readonly<Record<string, string>>>;
  stop(): Promise<void>;
}

/** Parses a page in the text format and looks for what its style guide forbids; empty when all is well. */
export function promtoolProblems(page: string): string {
  const { status, stderr } = spawnSync(find("promtool"), ["check", "metrics"], { input: page, encoding: "utf8" });
  return status === 0 ? "" : `${status}: ${stderr}`;
}

export async function startPrometheus(targets: readonly ScrapeTarget[]): Promise<PrometheusServer> {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-prometheus-"));
  const port = await freePort();
  const config = {
    global: { scrape_interval: "1s", scrape_timeout: "1s" },
    scrape_configs: targets.map(({ job, address }) => ({ job_name: job, static_configs: [{ targets: [address] }] })),
  };
  // JSON is YAML.
  writeFileSync(join(folder, "prometheus.yml"), JSON.stringify(config));
  const server = spawn(
    find("prometheus"),
    [
      `--config.file=${join(folder, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: "ignore" },
  );
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  const ask = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return response.json() as Promise<{ data: { result: Result[]; activeTargets: Target[] } }>;
  };
  return {
    async query(expression) {
      const { data } = await ask(`/api/v1/query?query=${encodeURIComponent(expression)}`);
      return data.result.map(({ metric, value: [, value] }) => ({ labels: metric, value: Number(value) }));
    },
    async lastErrors() {
      const { data } = await ask("/api/v1/targets");
      const scraped = data.activeTargets.filter(({ health }) => health !== "unknown");
      return Object.fromEntries(scraped.map(({ labels, lastError }) => [labels.job, lastError]));
    },
    async stop() {
      server.kill("SIGKILL");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface Result {
  readonly metric: Record<string, string>;
  readonly value: readonly [number, string];
}

interface Target {
  readonly labels: { readonly job: string };
  readonly health: string;
  readonly lastError: string;
}

function find(program: "prometheus" | "promtool"): string {
  const onPath = executableOnPath([program]);
  if (onPath !== undefined) return onPath;
  unpackDebianPackages(CACHE, {
    packages: ["prometheus"],
    file: "usr/bin/prometheus",
    howToGetIt: HOW_TO_GET_IT,
  });
  return join(CACHE, "usr/bin", program);
}
