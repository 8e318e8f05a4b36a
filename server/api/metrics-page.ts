/** Answers a scraper: in the format it asked for, and only if it may read. */
import type { IncomingMessage } from "node:http";
import type { Role } from "../../shared/access.js";
import {
  EXPOSITION_CONTENT_TYPES,
  type ExpositionFormat,
  type MetricFamily,
  renderExposition,
} from "../../shared/exposition.js";

export interface MetricsPageDeps {
  /** What there is to show; `resilience4j` asks for circuits under those names too. */
  readonly families: (also: { readonly resilience4j: boolean }) => Promise<readonly MetricFamily[]>;
  readonly roleOf: (request: IncomingMessage) => Role | undefined;
}

export interface PageAnswer {
  readonly status: 200 | 401;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** `GET /metrics`, and `GET /metrics?also=resilience4j`. */
export async function metricsPage(deps: MetricsPageDeps, request: IncomingMessage): Promise<PageAnswer> {
  if (deps.roleOf(request) === undefined) {
    return {
      status: 401,
      headers: { "content-type": "text/plain; charset=utf-8", "www-authenticate": 'Bearer realm="paramedic"' },
      body: "metrics are for those who may read: send PARAMEDIC_READ_TOKEN as a bearer token\n",
    };
  }
  const query = new URLSearchParams((request.url ?? "").split("?", 2)[1] ?? "");
  const families = await deps.families({ resilience4j: query.getAll("also").includes("resilience4j") });
  const format = formatFor(request.headers.accept);
  return {
    status: 200,
    headers: { "content-type": EXPOSITION_CONTENT_TYPES[format] },
    body: renderExposition(families, format),
  };
}

/**
 * OpenMetrics where it is preferred at least as much as the older text; anything else gets the older text.
 *
 * @example formatFor("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5") // "openmetrics"
 */
export function formatFor(accept: string | undefined): ExpositionFormat {
  let openmetrics = 0;
  let text = 0;
  for (const range of (accept ?? "").split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const weight = weightOf(parameters);
    if (type === "application/openmetrics-text" && speaksOurVersion(parameters)) {
      openmetrics = Math.max(openmetrics, weight);
    }
    if (type === "text/plain" || type === "text/*" || type === "*/*") text = Math.max(text, weight);
  }
  return openmetrics > 0 && openmetrics >= text ? "openmetrics" : "text";
}

function weightOf(parameters: readonly string[]): number {
  const given = parameters.find((parameter) => parameter.startsWith("q="));
  const weight = given === undefined ? 1 : Number(given.slice(2));
  return weight >= 0 && weight <= 1 ? weight : 0;
}

function speaksOurVersion(parameters: readonly string[]): boolean {
  const version = parameters.find((parameter) => parameter.startsWith("version="))?.slice("version=".length);
  return version === undefined || version === "1.0.0" || version === '"1.0.0"';
}
