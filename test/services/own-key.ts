/** A key that no other test uses, so that one Redis serves them all, somebody's own included. */
import { randomUUID } from "node:crypto";

/** @example const key = ownKey("stream"); // "paramedic-test:stream:5f0c…" */
export function ownKey(name: string): string {
  return `paramedic-test:${name}:${randomUUID()}`;
}
