import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { runOn } from "./postgres-database.js";
import { startPostgres } from "./postgres-server.js";

const answers = (url: string) =>
  runOn(url, "select 1").then(
    () => true,
    () => false,
  );

it("starts, is killed, comes back on the same port with its rows and stops", async () => {
  const postgres = await startPostgres();
  await runOn(postgres.url, "create table kept as select 7 as n");
  await postgres.kill();
  expect(await answers(postgres.url)).toBe(false);
  const { pid } = postgres;
  await postgres.restart();
  expect(postgres.pid).not.toBe(pid);
  expect(await runOn(postgres.url, "select n from kept")).toEqual([{ n: 7 }]);
  await postgres.stop();
  expect(await answers(postgres.url)).toBe(false);
});

it("dies with the process that started it, even after kill -9", async () => {
  const module = fileURLToPath(new URL("./postgres-server.ts", import.meta.url));
  const script = `import { startPostgres } from ${JSON.stringify(module)};
    const postgres = await startPostgres();
    process.stdout.write(postgres.url + " " + postgres.pid + "\\n");
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script]);
  const line = await new Promise<string>((resolve) => parent.stdout.once("data", (data) => resolve(String(data))));
  const [url = "", pid = ""] = line.trim().split(" ");
  expect(await answers(url)).toBe(true);
  parent.kill("SIGKILL");
  await expect.poll(() => existsSync(`/proc/${pid}`) || answers(url)).toBe(false);
});
