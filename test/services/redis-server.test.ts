import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { startRedis } from "./redis-server.js";

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

it("starts, is killed, comes back on the same port and stops", async () => {
  const redis = await startRedis();
  expect(await answers(redis.port)).toBe(true);
  await redis.kill();
  expect(await answers(redis.port)).toBe(false);
  const { pid } = redis;
  await redis.restart();
  expect(redis.pid).not.toBe(pid);
  expect(await answers(redis.port)).toBe(true);
  await redis.stop();
  expect(await answers(redis.port)).toBe(false);
});

it("dies with the process that started it, even after kill -9, and leaves no folder", async () => {
  const module = fileURLToPath(new URL("./redis-server.ts", import.meta.url));
  const script = `import { startRedis } from ${JSON.stringify(module)};
    const redis = await startRedis();
    process.stdout.write(redis.port + " " + redis.pid + "\\n");
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script]);
  const line = await new Promise<string>((resolve) => parent.stdout.once("data", (data) => resolve(String(data))));
  const [port = 0, pid = 0] = line.trim().split(" ").map(Number);
  expect(await answers(port)).toBe(true);
  parent.kill("SIGKILL");
  await expect.poll(() => existsSync(`/proc/${pid}`) || answers(port)).toBe(false);
});
