/** Runs one check once and makes one result of it, whatever the check does: answer, throw, hang or talk nonsense. */
import { describeError, readSafely } from "../../shared/describe-error.js";
import { isJsonObject, type JsonObject } from "../../shared/failure.js";
import { HEALTH_STATUSES, type HealthCheckOutcome, type HealthStatus } from "../../shared/health.js";
import { isOwnDelay } from "../../shared/own-delay.js";
import { boundText, redactJson, redactText } from "../../shared/redaction.js";
import { type Clock, setPatientTimer } from "../ports/clock.js";

/**
 * Answers how something is. Throwing means unhealthy. `signal` aborts when nobody waits any more: a check that ignores it may
 * run on, and a new run of it may begin beside it.
 */
export type HealthCheck = (context: {
  readonly signal: AbortSignal;
}) => HealthCheckOutcome | PromiseLike<HealthCheckOutcome>;

export interface HealthCheckRun {
  readonly status: HealthStatus;
  readonly latency: number;
  readonly message: string | undefined;
  readonly metadata: JsonObject | undefined;
}

const MESSAGE_LENGTH = 500;

/**
 * Resolves within `timeoutMs`; never rejects. A check without an answer is `unknown` where this process was kept from hearing
 * one: that says nothing of what was checked.
 */
export async function runHealthCheck(clock: Clock, check: HealthCheck, timeoutMs: number): Promise<HealthCheckRun> {
  const controller = new AbortController();
  const startedAt = clock.monotonic();
  const lateBy = () => clock.monotonic() - startedAt - timeoutMs;
  let answer: { readonly outcome: unknown } | { readonly error: unknown } | undefined;
  await new Promise<void>((resolve) => {
    const timer = setPatientTimer(clock, resolve, timeoutMs);
    const settle = (settled: typeof answer) => {
      answer ??= settled;
      timer.cancel();
      resolve();
    };
    try {
      Promise.resolve(check({ signal: controller.signal })).then(
        (outcome) => settle({ outcome }),
        (error: unknown) => settle({ error }),
      );
    } catch (error) {
      settle({ error });
    }
  });
  const latency = clock.monotonic() - startedAt;
  if (answer === undefined) {
    controller.abort();
    const message = `no answer within ${timeoutMs} ms`;
    if (!isOwnDelay(lateBy(), timeoutMs)) return unhealthy(latency, message);
    const ours = `${message}, while this process itself was late by ${Math.round(lateBy())} ms`;
    return { ...unhealthy(latency, ours), status: "unknown" };
  }
  if ("error" in answer) return unhealthy(latency, describeError(answer.error).message);
  return readOutcome(answer.outcome, latency);
}

function readOutcome(outcome: unknown, latency: number): HealthCheckRun {
  const status = readSafely(outcome, "status");
  const known = HEALTH_STATUSES.find((candidate) => candidate === status);
  if (known === undefined) return unhealthy(latency, `the check gave no status; it must be one of ${STATUSES}`);
  const message = readSafely(outcome, "message");
  return {
    status: known,
    latency,
    message:
      typeof message === "string"
        ? boundText(redactText(boundText(message, 2 * MESSAGE_LENGTH)), MESSAGE_LENGTH)
        : undefined,
    metadata: readMetadata(readSafely(outcome, "metadata")),
  };
}

const STATUSES = HEALTH_STATUSES.join(", ");

function readMetadata(metadata: unknown): JsonObject | undefined {
  if (metadata === undefined || metadata === null) return undefined;
  const json = redactJson(metadata);
  return isJsonObject(json) ? json : { value: json };
}

function unhealthy(latency: number, message: string): HealthCheckRun {
  return { status: "unhealthy", latency, message: boundText(message, MESSAGE_LENGTH), metadata: undefined };
}
