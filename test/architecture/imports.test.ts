import { cruise, type IForbiddenRuleType } from "dependency-cruiser";
import extractTSConfig from "dependency-cruiser/config-utl/extract-ts-config";
import { beforeAll, describe, expect, it } from "vitest";

const STAGES = [
  "instrumentation",
  "metrics",
  "circuit",
  "guard",
  "recovery",
  "health",
  "watchdog",
  "alerts",
  "detection",
];

/** Folders that `from` may import of our own; anything else of ours is forbidden. */
function only(name: string, from: string, allowed: readonly string[]): IForbiddenRuleType {
  return {
    name,
    severity: "error",
    from: { path: from },
    to: { path: "^(shared|drizzle|server|client|test|bench|examples)/", pathNot: [...allowed] },
  };
}

const rules: IForbiddenRuleType[] = [
  only("shared imports only itself", "^shared/", ["^shared/"]),
  {
    name: "shared and the dashboard run anywhere",
    severity: "error",
    from: { path: "^shared/" },
    to: { dependencyTypes: ["core"] },
  },
  {
    name: "shared knows no database",
    severity: "error",
    from: { path: "^shared/" },
    to: { path: "node_modules/(drizzle-orm|better-sqlite3|ioredis|express)" },
  },
  only("drizzle imports shared", "^drizzle/", ["^drizzle/", "^shared/"]),
  only("ports import shared", "^server/ports/", ["^server/ports/", "^shared/"]),
  ...STAGES.map((stage) =>
    only(`${stage} knows contracts and ports, never another stage`, `^server/${stage}/`, [
      "^shared/",
      "^server/ports/",
      "^server/loop\\.ts$",
      `^server/${stage}/`,
      ...(stage === "guard" ? ["^server/circuit/"] : []),
    ]),
  ),
  only("adapters know ports and the schema, never a stage", "^server/adapters/", [
    "^server/adapters/",
    "^server/ports/",
    "^server/loop\\.ts$",
    "^shared/",
    "^drizzle/",
  ]),
  only("the API knows ports", "^server/api/", ["^server/api/", "^server/ports/", "^shared/"]),
  only("the fixtures know ports", "^server/testing/", ["^server/testing/", "^server/ports/", "^shared/"]),
  {
    name: "nothing that runs in an app knows the fixtures",
    severity: "error",
    from: { path: "^server/", pathNot: "^server/testing(/|\\.ts$)" },
    to: { path: "^server/testing" },
  },
  {
    name: "no cycles",
    severity: "error",
    from: { path: "^(shared|drizzle|server|client)/" },
    to: { circular: true },
  },
];

describe("the architecture", () => {
  let violations: readonly string[] = [];
  let modules = 0;

  beforeAll(async () => {
    const tsConfig = extractTSConfig("tsconfig.json");
    const { output } = await cruise(
      ["shared", "drizzle", "server"],
      {
        ruleSet: { forbidden: rules },
        validate: true,
        tsPreCompilationDeps: true,
        doNotFollow: { path: "node_modules" },
      },
      {},
      { tsConfig },
    );
    if (typeof output === "string") throw new Error(output);
    modules = output.summary.totalCruised;
    violations = output.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
  });

  it("is read at all: the cruise saw the tree", () => {
    expect(modules).toBeGreaterThan(50);
  });

  it("has no import against its direction and no cycle", () => {
    expect(violations).toEqual([]);
  });
});
