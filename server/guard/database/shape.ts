/** How drivers and Drizzle are told apart and taken hold of: by what they can do, since their classes may be strangers. */
import { readProperty } from "../../../shared/error-facts.js";

export function hasMethods(value: unknown, names: readonly string[]): value is object {
  return names.every((name) => typeof readProperty(value, name) === "function");
}

/** Puts `by` in the place of a method, on this one object. */
export function replace(target: object, method: string, by: (...args: never[]) => unknown): void {
  Object.defineProperty(target, method, { value: by, writable: true, configurable: true });
}

/** Runs a prepared statement's own method with the arguments it was called with, on the statement or one like it. */
type Run<R> = (prepared: object) => R;

/** Puts something around every way in which Drizzle's prepared statement can be executed, and gives the statement back. */
export function replaceExecuting(
  prepared: object,
  around: {
    execute(run: Run<Promise<unknown>>): Promise<unknown>;
    iterate(run: Run<AsyncIterable<unknown>>): AsyncIterable<unknown>;
  },
): object {
  for (const [method, wrap] of [
    ["execute", around.execute],
    ["all", around.execute],
    ["iterator", around.iterate],
  ] as const) {
    const native: unknown = readProperty(prepared, method);
    if (typeof native !== "function") continue;
    replace(prepared, method, (...args: unknown[]) => wrap((on: object) => Reflect.apply(native, on, args)));
  }
  return prepared;
}

export function ignore(): void {}
