/** Properties that name no number of runs take it from FAST_CHECK_RUNS too. */
import fc from "fast-check";
import { runs } from "./property-runs.js";

const USUAL = 100;
fc.configureGlobal({ numRuns: runs(USUAL) });
