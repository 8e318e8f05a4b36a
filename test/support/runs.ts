/** How often a long property is tried. */
import fc from "fast-check";

/** That often, unless whoever runs the tests has set a number for all: mutation tests do, because they run them a thousand times. */
export function runs(usual: number): number {
  return fc.readConfigureGlobal()?.numRuns ?? usual;
}
