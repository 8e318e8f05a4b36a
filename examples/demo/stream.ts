/** The demo's own stream in Redis: one key per run, so that runs do not read each other's batches. */
import { Redis } from "ioredis";

/** Long enough to look at it after the demo. */
const KEPT_FOR_SECONDS = 3_600;

export function newStreamKey(): string {
  return `metrics:stream:demo-${Date.now().toString(36)}`;
}

/** Lets the stream disappear by itself. A Redis that is gone has nothing to clean up. */
export async function expireStream(redisUrl: string, streamKey: string): Promise<void> {
  const redis = new Redis(redisUrl, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 1_000 });
  redis.on("error", () => {});
  try {
    await redis.connect();
    await redis.expire(streamKey, KEPT_FOR_SECONDS);
  } catch {
    // The key is lost with the server, or stays as small as the demo was.
  } finally {
    redis.disconnect();
  }
}
