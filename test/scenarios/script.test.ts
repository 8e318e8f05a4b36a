/** A script that awaits a guarded call has nothing else that keeps it alive: its retries must. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";

const SCRIPT = `
  import { createParamedic } from ${JSON.stringify(pathToFileURL("server/index.ts").href)};
  const paramedic = createParamedic({ logger: false, redis: false, retryBaseDelayMs: 50, retryMaxDelayMs: 50 });
  await paramedic.ready;
  let attempts = 0;
  const refuse = () => {
    attempts += 1;
    if (attempts < 3) throw Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
    return "answered";
  };
  const value = await paramedic.run("once", { targets: [{ service: "http:x", run: refuse }], idempotent: true });
  console.log(value, attempts);
  await paramedic.shutdown();
`;

it("a script lives until its guarded call has been retried", () => {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-script-"));
  try {
    const output = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", SCRIPT], {
      encoding: "utf8",
      env: { PATH: process.env.PATH, PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}` },
    });
    expect(output.trim()).toBe("answered 3");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
