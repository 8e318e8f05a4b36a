import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { runInProcesses } from "../../bench/processes.js";

const CHILD = fileURLToPath(new URL("processes.child.ts", import.meta.url));
const scenario = (name: string) => ({
  name,
  execArgv: ["--import", "tsx"],
  run: () => Promise.reject(new Error("it runs in the child")),
});

it("has the whole result of a process, however long it is", async () => {
  const [result] = await runInProcesses(scenario("long"), CHILD, []);
  expect(result?.groups[0]?.measurements[0]?.rounds).toHaveLength(200_000);
});

it("says which scenario ended without a result, and how", async () => {
  await expect(runInProcesses(scenario("silent"), CHILD, [])).rejects.toThrow('"silent" ended with code 3');
});
