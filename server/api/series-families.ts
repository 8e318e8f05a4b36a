/** Groups cumulative series into metric families under their conventional names, so that no two families collide. */
import type { CumulativeSeries } from "../../shared/cumulative-series.js";
import { legalMetricName, type MetricFamily, namesTaken } from "../../shared/exposition.js";
import { type ConventionalSeries, conventionalSeries, unitWord } from "../../shared/metric-names.js";

interface Group {
  readonly name: string;
  readonly conventional: ConventionalSeries;
  readonly kind: CumulativeSeries["descriptor"]["kind"];
  readonly members: { readonly series: CumulativeSeries; readonly conventional: ConventionalSeries }[];
}

/**
 * @param reserved names of families that stand beside these; a series that would share one gets a number behind its name
 * @example seriesFamilies(collector.cumulative(), ownFamilies.map(({ name }) => name))
 */
export function seriesFamilies(
  series: readonly CumulativeSeries[],
  reserved: readonly string[] = [],
): readonly MetricFamily[] {
  const groups = new Map<string, Group>();
  for (const one of series) {
    const conventional = conventionalSeries(one.descriptor);
    const { kind } = one.descriptor;
    // Bounds follow from the recorded unit: milliseconds and seconds of one name are two families.
    const identity = JSON.stringify([conventional.name, kind, one.descriptor.unit]);
    const group = groups.get(identity) ?? { name: familyName(conventional, kind), conventional, kind, members: [] };
    group.members.push({ series: one, conventional });
    groups.set(identity, group);
  }
  const taken = new Set(reserved.flatMap(namesTaken));
  // Sorted, so that who gets the number does not depend on who was recorded first.
  return [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, group]) => familyOf(group, freeName(group.name, taken)));
}

function familyOf({ conventional, kind, members }: Group, name: string): MetricFamily {
  const head = { name, help: conventional.help, unit: unitWord(conventional.unit) };
  const { divisor } = conventional;
  switch (kind) {
    case "histogram":
      return {
        ...head,
        type: "histogram",
        samples: members.map((member) => ({
          labels: member.conventional.attributes,
          bounds: (member.series.distribution?.bounds ?? []).map((bound) => bound / divisor),
          counts: member.series.distribution?.counts ?? [],
          sum: member.series.sum / divisor,
        })),
      };
    case "counter":
      return {
        ...head,
        type: "counter",
        samples: members.map((member) => ({
          labels: member.conventional.attributes,
          value: member.series.sum / divisor,
        })),
      };
    case "gauge":
      return {
        ...head,
        type: "gauge",
        samples: members.map((member) => ({
          labels: member.conventional.attributes,
          value: member.series.last / divisor,
        })),
      };
  }
}

/** Its unit stands at the end, once; what the format puts behind a name is taken off. */
function familyName({ name, unit }: ConventionalSeries, kind: Group["kind"]): string {
  const legal = legalMetricName(name);
  const word = unitWord(unit);
  const bare = kind === "counter" ? legal.replace(/_total$/, "") : legal;
  return word === undefined || bare.endsWith(`_${word}`) ? bare : `${bare}_${word}`;
}

function freeName(name: string, taken: Set<string>): string {
  let free = name;
  for (let number = 2; namesTaken(free).some((one) => taken.has(one)); number += 1) free = `${name}_${number}`;
  for (const one of namesTaken(free)) taken.add(one);
  return free;
}
