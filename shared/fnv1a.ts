/** A short name for a text: identity for grouping, not cryptography. */

/** The offset basis of the 32-bit hash. */
export const FNV_OFFSET = 0x811c9dc5;

/** The prime of the 32-bit hash. */
const FNV_PRIME = 0x01000193;

/**
 * FNV-1a (Fowler, Noll, Vo) over UTF-16 units, as 8 hex digits. Another offset gives an independent second hash.
 *
 * @example fnv1a("") // "811c9dc5"
 */
export function fnv1a(text: string, offset = FNV_OFFSET): string {
  let hash = offset;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
  return (hash >>> 0).toString(16).padStart(8, "0");
}
