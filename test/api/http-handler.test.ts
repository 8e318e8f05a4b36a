import { createServer } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { createHttpHandler } from "../../server/api/http-handler.js";
import type { HealthReport } from "../../shared/health.js";

const report: HealthReport = {
  overall: "healthy",
  timestamp: 1,
  checks: [
    {
      name: "store",
      status: "healthy",
      latency: 1,
      message: "answers",
      metadata: { path: "./paramedic.db" },
      criticality: "critical",
      checkedAt: 1,
    },
  ],
};

let stop: (() => void) | undefined;
afterEach(() => stop?.());

async function serve(
  overall: HealthReport["overall"],
  options: { draining?: boolean; monitored?: boolean; role?: "read" } = {},
) {
  const handler = createHttpHandler({
    health: () => ({ ...report, overall }),
    monitored: options.monitored ?? true,
    draining: () => options.draining ?? false,
    roleOf: () => options.role,
  });
  const server = createServer((request, response) => handler(request, response, () => response.writeHead(404).end()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stop = () => server.close();
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init);
}

describe("the probes over HTTP", () => {
  it.each([
    ["healthy", 200, 200],
    ["degraded", 200, 200],
    ["unhealthy", 503, 503],
    ["unknown", 503, 503],
  ] as const)("when %s: ready %d, health %d, alive all the same", async (overall, ready, health) => {
    const get = await serve(overall);
    expect((await get("/livez")).status).toBe(200);
    expect((await get("/readyz")).status).toBe(ready);
    expect((await get("/health?verbose")).status).toBe(health);
  });

  it("stops being ready while draining and stays alive", async () => {
    const get = await serve("healthy", { draining: true });
    expect((await get("/readyz")).status).toBe(503);
    expect((await get("/livez")).status).toBe(200);
  });

  it("is ready without any checks when health is not monitored", async () => {
    const get = await serve("unknown", { monitored: false });
    expect((await get("/readyz")).status).toBe(200);
    expect((await get("/health")).status).toBe(503);
  });

  it("gives strangers the shape without messages and metadata, and never lets it be cached", async () => {
    const response = await (await serve("healthy"))("/health");
    expect(response.headers.get("cache-control")).toContain("no-store");
    const text = await response.text();
    expect(text).not.toContain("answers");
    expect(JSON.parse(text)).toMatchObject({ overall: "healthy", checks: [{ name: "store", status: "healthy" }] });
    stop?.();
    expect(await (await (await serve("healthy", { role: "read" }))("/health")).json()).toMatchObject({
      checks: [{ message: "answers" }],
    });
  });

  it("answers HEAD without a body, refuses other methods, and leaves other paths to the app", async () => {
    const get = await serve("healthy");
    const head = await get("/livez", { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    const post = await get("/livez", { method: "POST" });
    expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    for (const path of ["/livez/", "/LIVEZ", "//livez", "/%6civez", "/"])
      expect((await get(path)).status, path).toBe(404);
  });
});
