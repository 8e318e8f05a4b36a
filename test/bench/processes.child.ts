/** A scenario's process: gives a result that no pipe takes at once, or none. */
import { tellParent } from "../../bench/processes.js";

if (process.argv.at(-1) === "silent") process.exit(3);
const rounds = Array.from({ length: 200_000 }, (_, at) => at + 1 / 3);
await tellParent({
  groups: [{ title: "long", measurements: [{ name: "long", nsPerOp: 1, ratio: 1, addedNs: 0, rounds }] }],
  budgets: [],
});
