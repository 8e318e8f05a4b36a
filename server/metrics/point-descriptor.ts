/** The series that a point in the convenient form belongs to: what it leaves out is told by its name and unit. */
import type { SeriesDescriptor, SeriesKind } from "../../shared/series.js";
import type { MetricPoint } from "../ports/metric-sink.js";

export function descriptorOf(point: MetricPoint): SeriesDescriptor {
  const unit = point.unit ?? "1";
  return {
    metricType: point.metricType,
    metricName: point.metricName,
    kind: point.kind ?? kindOf(point.metricName, unit),
    unit,
    source: point.source ?? point.metricName,
    tags: point.tags ?? {},
  };
}

function kindOf(metricName: string, unit: string): SeriesKind {
  if (unit === "ms" || unit === "s") return "histogram";
  return metricName.endsWith("_count") || metricName.endsWith("_total") ? "counter" : "gauge";
}
