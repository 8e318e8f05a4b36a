/** Circuits of general and special names: who trips whom, and who refuses for whom. */
import { describe, expect, it } from "vitest";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { ancestorsOf, parentOf, tripsParent } from "../../server/circuit/key-tree.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { createStillClock } from "./still-clock.js";

const options = { failureThreshold: 1, resetTimeoutMs: 1_000, successThreshold: 1 };

function tree(rule: { parentShare?: number; parentMinimum?: number } = {}) {
  const clock = createStillClock();
  const registry = new CircuitBreakerRegistry({ clock, random: () => 0 }, rule);
  const moves: string[] = [];
  registry.subscribe({
    transitioned: ({ circuitName, to, reason }: CircuitTransition) => moves.push(`${circuitName} ${to} ${reason}`),
  });
  const get = (name: string) => registry.getOrCreate(name, options);
  const trip = (name: string) =>
    get(name)
      .tryAcquire()
      ?.failure({ failureEventId: `event of ${name}` });
  return { clock, registry, moves, get, trip };
}

describe("names", () => {
  it("are narrowed down by a slash, and lie below what is left of it", () => {
    expect(ancestorsOf("llm:openai/gpt-4.1-mini/cred:ab12")).toEqual(["llm:openai/gpt-4.1-mini", "llm:openai"]);
    expect(ancestorsOf("db:main")).toEqual([]);
    expect([parentOf("db:main/select"), parentOf("db:main"), parentOf("/a"), parentOf("")]).toEqual([
      "db:main",
      undefined,
      undefined,
      undefined,
    ]);
  });

  it.each([
    [1, 1, { share: 0.5, minimum: 2 }, false],
    [2, 4, { share: 0.5, minimum: 2 }, true],
    [2, 5, { share: 0.5, minimum: 2 }, false],
    [3, 4, { share: 0.75, minimum: 2 }, true],
    [2, 3, { share: 0.75, minimum: 2 }, false],
    [1, 1, { share: 1, minimum: 1 }, true],
  ])("%i of %i that tripped under %o: %s", (tripped, children, rule, expected) => {
    expect(tripsParent(tripped, children, rule)).toBe(expected);
  });
});

describe("a circuit that trips", () => {
  it("does not trip those beside it, nor the one above", () => {
    const { get, trip, moves } = tree();
    for (const name of ["llm:openai", "llm:openai/gpt", "llm:openai/o3", "llm:openai/o4", "llm:openai-eu/gpt"])
      get(name);
    trip("llm:openai/gpt");
    expect(moves).toEqual(["llm:openai/gpt open failure_threshold"]);
    expect(get("llm:openai/o3").tryAcquire()).toBeDefined();
  });

  it("trips the one above with enough others, for a reason of its own and the failure that was the last", () => {
    const transitions: CircuitTransition[] = [];
    const { registry, get, trip, moves } = tree();
    registry.subscribe({ transitioned: (transition) => transitions.push(transition) });
    for (const name of ["llm:openai/gpt", "llm:openai/o3", "llm:openai/o4", "llm:openai/o5"]) get(name);
    trip("llm:openai/gpt");
    trip("llm:openai/o3");
    expect(registry.get("llm:openai")).toBeUndefined();
    trip("llm:openai/o4");
    expect(moves.at(-1)).toBe("llm:openai open children_open");
    expect(transitions.at(-1)?.failureEventId).toBe("event of llm:openai/o4");
    expect(registry.get("llm:openai")?.config).toEqual(get("llm:openai/gpt").config);
    expect(get("llm:openai/o5").tryAcquire()).toBeUndefined();
  });

  it("goes up as far as there are enough on each level", () => {
    const { trip, moves } = tree({ parentMinimum: 1, parentShare: 1 });
    trip("a/b/c");
    expect(moves).toEqual(["a/b/c open failure_threshold", "a/b open children_open", "a open children_open"]);
  });

  it("counts where another instance moved it, too", () => {
    const { clock, registry, get, trip } = tree({ parentShare: 1 });
    get("a/x");
    trip("a/y");
    const stored = { ...get("a/x").snapshot(), state: "open", version: 1, nextRetryAt: clock.now() + 1_000 } as const;
    registry.adopt(get("a/x"), stored, { wall: clock.now(), monotonic: clock.monotonic() });
    expect(registry.get("a")?.state).toBe("open");
  });

  it("leaves a parent that probes to its probes, though enough of its children are open", () => {
    const { clock, get } = tree();
    for (const name of ["a/x", "a/y"]) get(name).forceOpen("operator");
    expect(get("a").state).toBe("open");
    clock.leap(1_000);
    get("a").tryAcquire();
    expect(get("a").state).toBe("half_open");
    get("a/z").forceOpen("operator");
    expect(get("a").state).toBe("half_open");
  });

  it("counts among those that lie below the same one, and no others", () => {
    const { get, trip, moves } = tree();
    for (const name of ["a/x", "a/y", "b/x", "b/y", "b/z"]) get(name);
    for (const name of ["a/x", "a/y"]) trip(name);
    expect([get("a").state, get("b").state]).toEqual(["open", "closed"]);
    expect(moves.at(-1)).toBe("a open children_open");
  });

  it("trips the one above when it opens, not when it begins to probe", () => {
    const { clock, get } = tree();
    for (const name of ["a/x", "a/y"]) get(name).forceOpen("operator");
    get("a").reset("operator");
    clock.leap(1_000);
    get("a/x").tryAcquire();
    expect([get("a/x").state, get("a").state]).toEqual(["half_open", "closed"]);
  });

  it("counts no more once it has left the registry", () => {
    const clock = createStillClock();
    const registry = new CircuitBreakerRegistry({ clock }, { maxCircuits: 3 });
    for (const name of ["a/x", "a/y", "a/z"]) {
      clock.leap(1);
      registry.getOrCreate(name, options);
    }
    clock.leap(1);
    registry.get("a/x")?.tryAcquire()?.failure();
    // a/y leaves for b, a/z for c.
    for (const name of ["b", "c"]) registry.getOrCreate(name);
    registry.getOrCreate("a/w", options).tryAcquire()?.failure();
    expect(registry.get("a")?.state).toBe("open");
  });
});

describe("a circuit that refuses", () => {
  it("refuses for all below it, and its error says who it was", () => {
    const { get } = tree();
    get("db:main").forceOpen("operator");
    const below = get("db:main/select/users");
    expect(below.tryAcquire()).toBeUndefined();
    expect(below.refusal()).toMatchObject({ circuitName: "db:main", retryAfterMs: 1_000 });
    expect(get("db:mainland").tryAcquire()).toBeDefined();
    below.forceOpen("operator");
    expect(below.refusal().circuitName).toBe("db:main/select/users");
  });

  it("refuses by a hold of its own, and lets pass what its hold lets pass", () => {
    const { get } = tree();
    const hold = { by: "ada", reason: "x", until: undefined };
    get("db:main").hold({ ...hold, state: "forced_open" });
    expect(get("db:main/select").tryAcquire()).toBeUndefined();
    expect(get("db:main/select").refusal().circuitName).toBe("db:main");
    get("db:main").hold({ ...hold, state: "disabled" });
    get("db:main/select").tryAcquire()?.failure();
    expect([get("db:main").state, get("db:main/select").state]).toEqual(["closed", "open"]);
  });

  it("is tried again by the calls below: they are its probes, and their results close or open it", () => {
    const { clock, get, moves } = tree();
    const [parent, one, two] = [get("a"), get("a/x"), get("a/y")];
    parent.forceOpen("operator");
    clock.leap(1_000);
    const probe = one.tryAcquire();
    expect(parent.state).toBe("half_open");
    expect(two.tryAcquire()).toBeUndefined();
    probe?.failure();
    expect([parent.state, one.state]).toEqual(["open", "open"]);
    clock.leap(1_000);
    two.tryAcquire()?.success();
    expect(moves.at(-1)).toBe("a closed probes_succeeded");
    expect(two.tryAcquire()).toBeDefined();
  });

  it("gets its permit back when the call below is refused, ignored or never made", () => {
    const { clock, get } = tree();
    const [parent, one, two] = [get("a"), get("a/x"), get("a/y")];
    parent.forceOpen("operator");
    clock.leap(900);
    one.forceOpen("operator");
    clock.leap(100);
    expect(one.tryAcquire()).toBeUndefined();
    const ignored = two.tryAcquire();
    expect(ignored).toBeDefined();
    ignored?.ignored();
    expect(two.tryAcquire()).toBeDefined();
  });

  it("through several levels asks each that is not closed", async () => {
    const { clock, get } = tree();
    const [top, middle, leaf] = [get("a"), get("a/b"), get("a/b/c")];
    top.forceOpen("operator");
    middle.forceOpen("operator");
    clock.leap(1_000);
    await expect(leaf.execute(async () => "value")).resolves.toBe("value");
    expect([top.state, middle.state, leaf.state]).toEqual(["closed", "closed", "closed"]);
    top.forceOpen("operator");
    await expect(leaf.execute(async () => "value")).rejects.toMatchObject({ circuitName: "a" });
  });

  it("on a level between gives no probe away that one further up refuses", () => {
    const { clock, get } = tree();
    const [top, middle, leaf] = [get("a"), get("a/b"), get("a/b/c")];
    middle.forceOpen("operator");
    clock.leap(1_000);
    top.forceOpen("operator");
    expect(leaf.tryAcquire()).toBeUndefined();
    expect([middle.state, middle.probes.admitted]).toEqual(["open", 0]);
  });

  it("needs nobody above it", () => {
    const { get } = tree();
    const middle = get("a/b");
    expect(middle.admitsAll).toBe(true);
    expect(get("a/b/c").tryAcquire()).toBeDefined();
  });

  it("leaves no free ticket below it", () => {
    const { get } = tree();
    const [parent, child] = [get("a"), get("a/b")];
    expect(child.freeTicket).toBeDefined();
    parent.forceOpen("operator");
    expect(child.freeTicket).toBeUndefined();
    parent.reset("operator");
    expect(child.freeTicket).toBeDefined();
  });

  it("reopens for its own time when the service asked a call below for another, and says why", () => {
    const { clock, get } = tree();
    const [parent, child] = [get("a"), get("a/x")];
    parent.forceOpen("operator");
    clock.leap(1_000);
    const error = new Error("busy");
    child.tryAcquire()?.failure({ error, openForMs: 5_000 });
    expect([parent.refusal().retryAfterMs, child.refusal().retryAfterMs]).toEqual([1_000, 5_000]);
    expect(parent.refusal().cause).toBe(error);
  });

  it("learns nothing of the calls below while it only measures", () => {
    const { get } = tree();
    get("a").hold({ state: "metrics_only", by: "ada", reason: "x", until: undefined });
    get("a/x").tryAcquire()?.failure();
    expect([get("a").state, get("a/x").state]).toEqual(["closed", "open"]);
  });

  it("learns nothing of the calls below while it is closed", () => {
    const { get } = tree({ parentMinimum: 2 });
    get("a");
    get("a/x").tryAcquire()?.failure();
    expect(get("a").getState()).toMatchObject({ state: "closed", failureCount: 0 });
  });
});
