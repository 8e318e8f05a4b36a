import { describe, expect, it } from "vitest";
import { createBuiltInStrategies } from "../../server/recovery/built-in-strategies.js";
import { createStrategyRegistry, describeStrategies } from "../../server/recovery/strategy-registry.js";
import { aFailure, aStrategy } from "./a-failure.js";

describe("strategy registry", () => {
  it("offers strategies by priority, then by name", () => {
    const registry = createStrategyRegistry();
    for (const [name, priority] of [
      ["late", 9],
      ["b", 1],
      ["a", 1],
    ] as const) {
      registry.register(aStrategy({ name, priority }));
    }
    expect(registry.all().map(({ name }) => name)).toEqual(["a", "b", "late"]);
  });

  it("takes a strategy of the same name in place of the one before", () => {
    const registry = createStrategyRegistry();
    const second = aStrategy({ priority: 3 });
    registry.register(aStrategy());
    registry.register(second);
    expect(registry.all()).toEqual([second]);
    expect(registry.get(second.name)).toBe(second);
  });

  it("takes all built-in ones", () => {
    const registry = createStrategyRegistry();
    const circuits = { channel: { publish() {}, subscribe: () => () => {} }, circuitState: () => undefined };
    for (const strategy of createBuiltInStrategies({ circuits })) registry.register(strategy);
    expect(registry.all().map(({ name }) => name)).toEqual([
      "exponential_backoff_retry",
      "provider_failover",
      "last_good_fallback",
      "circuit_break",
    ]);
  });

  const broken: readonly (readonly [what: string, strategy: unknown, message: RegExp])[] = [
    ["nothing", null, /is null/],
    ["an empty name", { ...aStrategy(), name: "" }, /name is ""/],
    ["the reserved name", { ...aStrategy(), name: "none" }, /name is "none"/],
    ["an unknown scope", { ...aStrategy(), scope: "world" }, /scope is "world"; legal: call, service/],
    ["a priority that is no number", { ...aStrategy(), priority: Number.NaN }, /priority is NaN/],
    ["no failure types", { ...aStrategy(), applicableFailureTypes: [] }, /applicableFailureTypes is an empty list/],
    ["an unknown failure type", { ...aStrategy(), applicableFailureTypes: ["api_timeot"] }, /"api_timeot" is unknown/],
    ["an unknown action", { ...aStrategy(), actionType: "magic" }, /actionType is "magic"/],
    ["no execute", { ...aStrategy(), execute: undefined }, /execute is missing/],
    ["a verify that is no function", { ...aStrategy(), verify: true }, /verify is true/],
    ["a name that no text can be made of", { ...aStrategy(), name: Object.create(null) }, /name is an object/],
    ["a limit that is null", { ...aStrategy(), limit: null }, /limit is out of its range/],
  ];
  it.each(broken)("refuses %s", (_, strategy, message) => {
    const registry = createStrategyRegistry();
    const register: (strategy: never) => void = registry.register;
    expect(() => register(strategy as never)).toThrow(
      expect.objectContaining({ code: "STRATEGY_INVALID", message: expect.stringMatching(message) }),
    );
    expect(registry.all()).toEqual([]);
  });

  it("describes a strategy whose appliesTo throws as one that does not apply", () => {
    const faults: unknown[] = [];
    const strategy = aStrategy({
      appliesTo() {
        throw new Error("broken");
      },
    });
    const described = describeStrategies([strategy, aStrategy({ name: "other" })], aFailure(), {
      isEnabled: (name) => name !== "other",
      policyOf: () => undefined,
      onFault: (error) => faults.push(error),
    });
    expect(described).toMatchObject([
      { applies: false, enabled: true },
      { applies: true, enabled: false },
    ]);
    expect(faults).toHaveLength(1);
  });

  it("describes a strategy whose appliesTo gives a promise as one that does not apply, whatever comes of it", async () => {
    const faults: unknown[] = [];
    const later = aStrategy();
    Reflect.set(later, "appliesTo", () => Promise.reject(new Error("nobody waits for this")));
    const described = describeStrategies([later], aFailure(), {
      isEnabled: () => true,
      policyOf: () => undefined,
      onFault: (error) => faults.push(error),
    });
    expect(described).toMatchObject([{ applies: false }]);
    expect(String(faults)).toMatch(/appliesTo gave a promise; legal is true or false/);
  });
});
