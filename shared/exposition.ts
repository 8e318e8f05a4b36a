/**
 * Writes metric families as text that scrapers read: Prometheus text 0.0.4, or OpenMetrics 1.0. Whatever a label or a help
 * text holds, the result parses: names are made legal, values escaped, and samples that would be equal are added up.
 */
import type { BoundedCounts } from "./cumulative-series.js";
import type { Tags } from "./series.js";

export const EXPOSITION_FORMATS = ["text", "openmetrics"] as const;
export type ExpositionFormat = (typeof EXPOSITION_FORMATS)[number];

export const EXPOSITION_CONTENT_TYPES = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
} as const satisfies Record<ExpositionFormat, string>;

export interface NumberSample {
  readonly labels: Tags;
  readonly value: number;
}

export interface HistogramSample extends BoundedCounts {
  readonly labels: Tags;
  readonly sum: number;
}

interface FamilyHead {
  /** Legal, with its unit at the end, and without `_total` or `_info`: the format adds those. */
  readonly name: string;
  readonly help: string;
  /** `seconds`, `bytes`: told apart only where the name ends with it. */
  readonly unit?: string | undefined;
}

/** All samples of one name. Label names may be anything; they are made legal. */
export type MetricFamily = FamilyHead &
  (
    | { readonly type: "counter" | "gauge" | "info"; readonly samples: readonly NumberSample[] }
    | { readonly type: "histogram"; readonly samples: readonly HistogramSample[] }
  );

/** Names that a family of this name may write, in any format and of any type: two families must not share one. */
export function namesTaken(name: string): readonly string[] {
  return ["", "_total", "_info", "_bucket", "_sum", "_count", "_created"].map((suffix) => name + suffix);
}

/**
 * @param families with distinct names: see `namesTaken`
 * @example renderExposition([{ name: "up", type: "gauge", help: "Whether it is up.", samples: [{ labels: {}, value: 1 }] }], "text")
 */
export function renderExposition(families: readonly MetricFamily[], format: ExpositionFormat): string {
  const lines: string[] = [];
  for (const family of families) {
    if (family.samples.length === 0) continue;
    writeHead(lines, family, format);
    if (family.type === "histogram") writeHistograms(lines, family.name, family.samples, format);
    else writeNumbers(lines, family.name + suffixOf(family.type), family.samples, family.type);
  }
  if (format === "openmetrics") lines.push("# EOF");
  return `${lines.join("\n")}\n`;
}

/** A name that every scraper accepts: what is illegal becomes `_`. */
export function legalMetricName(name: string): string {
  const legal = name.replace(/[^a-zA-Z0-9_]+/g, "_");
  return /^[a-zA-Z]/.test(legal) ? legal : `_${legal}`;
}

function suffixOf(type: "counter" | "gauge" | "info"): string {
  switch (type) {
    case "counter":
      return "_total";
    case "info":
      return "_info";
    case "gauge":
      return "";
  }
}

/** The older format knows no units and no `info`, and names a counter as its samples are named. */
function writeHead(lines: string[], { name, type, help, unit }: MetricFamily, format: ExpositionFormat): void {
  if (format === "openmetrics") {
    lines.push(`# TYPE ${name} ${type}`);
    if (unit !== undefined && name.endsWith(`_${unit}`)) lines.push(`# UNIT ${name} ${unit}`);
    lines.push(`# HELP ${name} ${escaped(help)}`);
    return;
  }
  const sampled = type === "histogram" ? name : name + suffixOf(type);
  lines.push(`# HELP ${sampled} ${escapedHelp(help)}`, `# TYPE ${sampled} ${type === "info" ? "gauge" : type}`);
}

function writeNumbers(
  lines: string[],
  name: string,
  samples: readonly NumberSample[],
  type: "counter" | "gauge" | "info",
): void {
  const byLabels = new Map<string, number>();
  for (const { labels, value } of samples) {
    const key = labelText(labels);
    byLabels.set(key, type === "counter" ? (byLabels.get(key) ?? 0) + value : value);
  }
  for (const [labels, value] of byLabels) lines.push(`${name}${braced(labels)} ${numberText(value)}`);
}

function writeHistograms(
  lines: string[],
  name: string,
  samples: readonly HistogramSample[],
  format: ExpositionFormat,
): void {
  const byLabels = new Map<string, { readonly bounds: readonly number[]; readonly counts: number[]; sum: number }>();
  for (const { labels, bounds, counts, sum } of samples) {
    const key = labelText(labels, ["le"]);
    const known = byLabels.get(key);
    if (known === undefined) byLabels.set(key, { bounds, counts: Array.from(counts), sum });
    else {
      known.sum += sum;
      for (let at = 0; at < known.counts.length; at += 1)
        known.counts[at] = (known.counts[at] ?? 0) + (counts[at] ?? 0);
    }
  }
  for (const [labels, { bounds, counts, sum }] of byLabels) {
    const before = labels === "" ? "" : `${labels},`;
    let total = 0;
    for (const [at, count] of counts.entries()) {
      total += count;
      const bound = bounds[at] ?? Number.POSITIVE_INFINITY;
      lines.push(`${name}_bucket{${before}le="${boundText(bound, format)}"} ${numberText(total)}`);
    }
    lines.push(
      `${name}_sum${braced(labels)} ${numberText(sum)}`,
      `${name}_count${braced(labels)} ${numberText(total)}`,
    );
  }
}

function braced(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}

/**
 * Sorted, so that equal labels are equal texts. An empty value is to a scraper as if the label were not there. Labels whose
 * names become equal are joined, as OpenTelemetry does.
 */
function labelText(labels: Tags, reserved: readonly string[] = []): string {
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(labels)) {
    if (value === "") continue;
    const legal = legalLabelName(name);
    const free = reserved.includes(legal) ? `tag_${legal}` : legal;
    const known = values.get(free);
    values.set(free, known === undefined ? value : `${known};${value}`);
  }
  return [...values]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(",");
}

/** Names that begin with two underscores belong to the scraper. */
function legalLabelName(name: string): string {
  const legal = name.replace(/[^a-zA-Z0-9_]+/g, "_").replace(/^_+/, "_");
  return /^[a-zA-Z_]/.test(legal) ? legal : `_${legal}`;
}

/** Lone surrogates have no bytes, and scrapers take NUL for the end. */
function readable(text: string): string {
  return text.replace(/[\p{Surrogate}\0]/gu, "\uFFFD");
}

function escapedHelp(text: string): string {
  return readable(text).replace(/\\/g, "\\\\").replace(/\n/g, "\\n");
}

function escaped(text: string): string {
  return escapedHelp(text).replace(/"/g, '\\"');
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}

/** OpenMetrics writes every bound as a float, so that `1` and `1.0` are never two series. */
function boundText(bound: number, format: ExpositionFormat): string {
  const text = numberText(bound);
  return format === "openmetrics" && /^-?\d+$/.test(text) ? `${text}.0` : text;
}
