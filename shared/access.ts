/** The words for who may do what, and for what became of it. */

export const ROLES = ["read", "operate"] as const;
/** `operate` includes `read`. */
export type Role = (typeof ROLES)[number];

export const AUDIT_OUTCOMES = ["succeeded", "failed", "refused"] as const;
export type AuditOutcome = (typeof AUDIT_OUTCOMES)[number];
