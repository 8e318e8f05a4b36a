/** Names the class of an error that Redis answered or that ioredis raised. */
import type { ErrorClass } from "./error-classes.js";
import type { ErrorFacts } from "./error-facts.js";

const CLASS_BY_REPLY: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["LOADING", "redis_unreachable"],
  ["BUSY", "redis_connection"],
  ["MASTERDOWN", "redis_connection"],
  ["CLUSTERDOWN", "redis_connection"],
  ["TRYAGAIN", "redis_connection"],
  ["NOREPLICAS", "redis_connection"],
  ["READONLY", "redis_readonly"],
  ["MISCONF", "disk_full"],
  ["OOM", "redis_out_of_memory"],
  ["NOAUTH", "auth"],
  ["WRONGPASS", "auth"],
  ["NOPERM", "auth"],
]);

/** @param redis the service is Redis: a reply then needs no `ReplyError` around it */
export function redisClassOf(facts: ErrorFacts, redis: boolean): ErrorClass | undefined {
  if (facts.names.includes("MaxRetriesPerRequestError")) return "redis_connection";
  if (facts.names.includes("ClusterAllFailedError")) return "redis_connection";
  const { message } = facts;
  // Told before the command left the process.
  if (/^Stream isn't writeable and enableOfflineQueue options is false/.test(message)) return "redis_unreachable";
  if (facts.names.includes("ReplyError") || redis) {
    const reply = /^([A-Z]{2,20})(?: |$)/.exec(message)?.[1];
    if (reply !== undefined)
      return CLASS_BY_REPLY.get(reply) ?? (facts.names.includes("ReplyError") ? "caller_error" : undefined);
  }
  if (!redis) return undefined;
  if (/^Connection is closed\.?$/.test(message)) return "redis_connection";
  if (/^Command timed out$/.test(message)) return "timeout";
  return undefined;
}
