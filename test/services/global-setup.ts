/** One Redis for the whole run: the one that REDIS_URL names, else one of its own. Tests get its address by `inject`. */
import type { TestProject } from "vitest/node";
import { startRedis } from "./redis-server.js";

declare module "vitest" {
  interface ProvidedContext {
    /** A Redis that tests share: each uses keys of its own (`ownKey`). */
    redisUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env.REDIS_URL;
  if (given !== undefined && given !== "") {
    project.provide("redisUrl", given);
    return undefined;
  }
  const server = await startRedis();
  project.provide("redisUrl", server.url);
  return () => server.stop();
}
