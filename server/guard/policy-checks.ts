/** Checks of a guard's options: each names the service, the option, what it got and what is legal. */
import { ParamedicError } from "../../shared/errors.js";

export function requireInteger(service: string, option: string, value: unknown, min: number, max: number): void {
  requireNumber(service, option, value, min, max);
  if (!Number.isInteger(value)) throw invalidPolicy(service, option, `got ${String(value)}; legal: a whole number`);
}

export function requireNumber(service: string, option: string, value: unknown, min: number, max: number): void {
  if (typeof value !== "number" || !(value >= min && value <= max)) {
    throw invalidPolicy(service, option, `got ${String(value)}; legal: [${min}, ${max}]`);
  }
}

/** @param option the name of the object that holds `given`, as the error names it */
export function requireKnown(service: string, option: string, given: object, known: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    throw invalidPolicy(service, `${option}.${name}`, `is unknown; the options of ${option} are ${known.join(", ")}`);
  }
}

export function invalidPolicy(service: string, option: string, problem: string): ParamedicError {
  return new ParamedicError("CONFIGURATION_INVALID", `guard "${service}": ${option}: ${problem}`);
}
