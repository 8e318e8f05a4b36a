import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { runOnMariadb, startMariadb } from "./mariadb-server.js";

const answers = (url: string) =>
  runOnMariadb(url, "select 1").then(
    () => true,
    () => false,
  );

it("starts, is killed, comes back on the same port with its rows and stops", async () => {
  const mariadb = await startMariadb();
  await runOnMariadb(mariadb.url, "create table kept as select 7 as n");
  await mariadb.kill();
  expect(await answers(mariadb.url)).toBe(false);
  const { pid } = mariadb;
  await mariadb.restart();
  expect(mariadb.pid).not.toBe(pid);
  expect(await runOnMariadb(mariadb.url, "select n from kept")).toEqual([{ n: 7 }]);
  await mariadb.stop();
  expect(await answers(mariadb.url)).toBe(false);
}, 120_000);

it("dies with the process that started it, even after kill -9", async () => {
  const module = fileURLToPath(new URL("./mariadb-server.ts", import.meta.url));
  const script = `import { startMariadb } from ${JSON.stringify(module)};
    const mariadb = await startMariadb();
    process.stdout.write(mariadb.url + " " + mariadb.pid + "\\n");
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script]);
  const line = await new Promise<string>((resolve) => parent.stdout.once("data", (data) => resolve(String(data))));
  const [url = "", pid = ""] = line.trim().split(" ");
  expect(await answers(url)).toBe(true);
  parent.kill("SIGKILL");
  await expect.poll(() => existsSync(`/proc/${pid}`) || answers(url)).toBe(false);
}, 120_000);
