import { expect, it } from "vitest";
import { planFaults, processFaultsOf, STORE_KINDS, STREAM_FAULTS } from "./plan.js";

it.each(STORE_KINDS)(
  "a plan for %s follows from its seed alone, and has every kind of fault in its first round",
  (kind) => {
    const plan = planFaults(7, kind, 3);
    expect(planFaults(7, kind, 3)).toEqual(plan);
    expect(planFaults(8, kind, 3)).not.toEqual(plan);
    const firstOf = <T>(faults: readonly { readonly fault: T }[], kinds: readonly T[]) =>
      new Set(faults.slice(0, kinds.length).map(({ fault }) => fault));
    expect(firstOf(plan.stream, STREAM_FAULTS)).toEqual(new Set(STREAM_FAULTS));
    expect(firstOf(plan.process, processFaultsOf(kind))).toEqual(new Set(processFaultsOf(kind)));
    expect(plan.stream).toHaveLength(3 * STREAM_FAULTS.length);
  },
);
