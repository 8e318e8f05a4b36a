import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

/** What only one file may reach for: time, chance, the environment and the console are passed in everywhere else. */
const AMBIENT: readonly {
  readonly what: string;
  readonly home: readonly string[];
  readonly found: (node: ts.Node) => boolean;
}[] = [
  {
    what: "wall time",
    home: ["server/ports/clock.ts"],
    found: (node) => isMember(node, "Date", "now") || isNewDateNow(node),
  },
  {
    what: "monotonic time",
    home: ["server/ports/clock.ts"],
    found: (node) => isMember(node, "performance", "now") || isMember(node, "process", "hrtime"),
  },
  {
    what: "timers",
    home: ["server/ports/clock.ts"],
    found: (node) => isCallOf(node, ["setTimeout", "setInterval", "setImmediate"]),
  },
  {
    what: "chance",
    home: ["server/ports/random.ts"],
    found: (node) => isMember(node, "Math", "random") || isMember(node, "crypto", "randomUUID"),
  },
  { what: "ids", home: ["server/ports/ids.ts"], found: (node) => isCallOf(node, ["nanoid"]) },
  { what: "the environment", home: ["server/env.ts"], found: (node) => isMember(node, "process", "env") },
  {
    what: "the console",
    home: [],
    found: (node) => ts.isPropertyAccessExpression(node) && node.expression.getText() === "console",
  },
];

const files = ["shared", "drizzle", "server"].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => join(folder, file)),
);

describe("ambient effects", () => {
  it.each(AMBIENT.map((rule) => [rule.what, rule] as const))("of %s stay in their one file", (_what, rule) => {
    const offenders = files.filter((file) => !rule.home.includes(file)).flatMap((file) => usesOf(file, rule.found));
    expect(offenders).toEqual([]);
  });

  it("are found where they are allowed: the search itself works", () => {
    for (const rule of AMBIENT) {
      for (const home of rule.home) expect(usesOf(home, rule.found), rule.what).not.toEqual([]);
    }
  });
});

function usesOf(file: string, found: (node: ts.Node) => boolean): string[] {
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true);
  const uses: string[] = [];
  const visit = (node: ts.Node): void => {
    if (found(node)) uses.push(`${file}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}`);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return uses;
}

function isMember(node: ts.Node, object: string, property: string): boolean {
  return ts.isPropertyAccessExpression(node) && node.expression.getText() === object && node.name.text === property;
}

/** `new Date()` reads the clock; `new Date(timestamp)` does not. */
function isNewDateNow(node: ts.Node): boolean {
  return ts.isNewExpression(node) && node.expression.getText() === "Date" && (node.arguments?.length ?? 0) === 0;
}

function isCallOf(node: ts.Node, names: readonly string[]): boolean {
  return ts.isCallExpression(node) && ts.isIdentifier(node.expression) && names.includes(node.expression.text);
}
