/** Names the circuits of what one request uses of a provider: its model, the key and the account that pays. */
import { createHash } from "node:crypto";
import type { FailureType } from "../../../shared/failure.js";
import { MINUTE_MS } from "../../../shared/units.js";
import type { ServicePart } from "../service-part.js";

export interface ProviderUse {
  /** The provider's service: `llm:openai`. */
  readonly service: string;
  readonly model: string | undefined;
  /** Undefined where it is not known before the request is made. */
  readonly apiKey: string | undefined;
  /** @default the key's own */
  readonly account?: string | undefined;
}

type PartKind = "model" | "key" | "account";

/** Until a person has put it right; then one call finds out. A quota comes back by itself, so it is asked sooner. */
const RESET_TIMEOUT_MS = { model: 5 * MINUTE_MS, key: 5 * MINUTE_MS, account: MINUTE_MS } as const satisfies Record<
  PartKind,
  number
>;

const TAKES = {
  model: ["model_unavailable"],
  key: ["auth_failed"],
  account: ["quota_exceeded"],
} as const satisfies Record<PartKind, readonly FailureType[]>;

/**
 * A key is named by a fingerprint that does not lead back to it; a new key has a new name, so it is asked at once.
 *
 * @example
 * partsOf({ service: "llm:openai", model: "gpt-4.1", apiKey }).map(({ circuit }) => circuit)
 * // ["llm:openai:model:gpt-4.1", "llm:openai:key:3f9a2c1b", "llm:openai:account:3f9a2c1b"]
 */
export function partsOf({ service, model, apiKey, account }: ProviderUse): readonly ServicePart[] {
  const key = apiKey === undefined ? "current" : fingerprint(apiKey);
  const part = (kind: PartKind, name: string): ServicePart => ({
    // Beside the service and not below it: a typing mistake in many models' names must not count against the provider.
    circuit: `${service}:${kind}:${name.replaceAll("/", "%2F")}`,
    takes: TAKES[kind],
    resetTimeoutMs: RESET_TIMEOUT_MS[kind],
  });
  return [
    ...(model === undefined ? [] : [part("model", model.slice(0, MAX_NAME))]),
    part("key", key),
    part("account", account ?? key),
  ];
}

const MAX_NAME = 100;

function fingerprint(key: string): string {
  return createHash("sha256").update(key).digest("hex").slice(0, 8);
}
