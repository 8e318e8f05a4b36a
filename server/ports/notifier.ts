/** Where somebody is told that Paramedic needs a look: every alert goes through here. */
import type { JsonObject, Severity } from "../../shared/failure.js";

export interface Notification {
  /** The same trouble has the same key: it fires once, and resolves once. */
  readonly dedupeKey: string;
  readonly status: "firing" | "resolved";
  readonly rule: string;
  readonly severity: Severity;
  /** What it is about, such as a service. */
  readonly subject: string;
  /** One line for a human. */
  readonly summary: string;
  readonly detail?: JsonObject | undefined;
}

export interface Notifier {
  /** Resolves once somebody can see it; rejects when nobody can. */
  notify(notification: Notification): void | Promise<void>;
}
