/** The words for who may do what, and for what became of it. */

export const ROLES = ["read", "operate"] as const;
/** `operate` includes `read`. */
export type Role = (typeof ROLES)[number];

/** `requested` is written before the effect, its outcome after it. */
export const AUDIT_OUTCOMES = ["requested", "succeeded", "failed", "refused"] as const;
export type AuditOutcome = (typeof AUDIT_OUTCOMES)[number];
