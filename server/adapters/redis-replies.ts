/** Redis replies as values. A reply of another shape than expected gives what can be read of it, never a throw. */

export interface RawEntry {
  readonly id: string;
  /** `undefined` when the stream was trimmed under it. */
  readonly fields: Readonly<Record<string, string>> | undefined;
}

export interface Claimed {
  /** Where the next page begins; `0-0` after a full pass. */
  readonly next: string;
  readonly entries: readonly RawEntry[];
  /** Ids whose content was trimmed away, where Redis tells them (7.0 and later). */
  readonly lost: readonly string[];
  /** Trimmed entries whose ids Redis did not tell (6.2). */
  readonly nameless: number;
}

export interface GroupInfo {
  readonly name: string;
  readonly pending: number;
  readonly lastDelivered: string;
  /** Milliseconds since a consumer was last heard of. */
  readonly idle: number;
  /** Entries not delivered yet; undefined where Redis does not know. */
  readonly lag: number | undefined;
}

/** The reply of XREADGROUP on one key: `[[key, [[id, [field, value, …]], …]]]`, or nothing. */
export function entriesOf(reply: unknown): readonly RawEntry[] {
  const [stream] = pairsOf(reply);
  return pairsOf(stream?.[1]).flatMap(([id, content]) =>
    typeof id === "string" ? [{ id, fields: Array.isArray(content) ? fieldsOf(content) : undefined }] : [],
  );
}

/** The reply of XAUTOCLAIM: `[next, [[id, [field, value, …]], …], [lost id, …]]`. */
export function claimedOf(reply: unknown): Claimed {
  const [next, claimed, lost] = listOf(reply);
  const items = listOf(claimed);
  return {
    next: typeof next === "string" ? next : "0-0",
    entries: pairsOf(claimed).flatMap(([id, content]) =>
      typeof id === "string" && Array.isArray(content) ? [{ id, fields: fieldsOf(content) }] : [],
    ),
    lost: listOf(lost).filter((id) => typeof id === "string"),
    nameless: items.filter((item) => item === null).length,
  };
}

/** The reply of XINFO GROUPS and of XINFO CONSUMERS: a list of flat `[name, value, …]`. */
export function groupsOf(reply: unknown): readonly GroupInfo[] {
  return pairsOf(reply).map((flat) => {
    const info = new Map<unknown, unknown>();
    for (let at = 0; at + 1 < flat.length; at += 2) info.set(flat[at], flat[at + 1]);
    const lag = info.get("lag");
    return {
      name: String(info.get("name") ?? ""),
      pending: Number(info.get("pending") ?? 0),
      lastDelivered: String(info.get("last-delivered-id") ?? "0-0"),
      idle: Number(info.get("idle") ?? 0),
      lag: typeof lag === "number" ? lag : undefined,
    };
  });
}

/** The items of a list that are lists themselves. */
export function pairsOf(reply: unknown): readonly (readonly unknown[])[] {
  return listOf(reply).filter((item) => Array.isArray(item));
}

/** The id right after `id`. */
export function nextId(id: string): string {
  const [time = "0", sequence = "0"] = id.split("-");
  return `${time}-${BigInt(sequence) + 1n}`;
}

function listOf(reply: unknown): readonly unknown[] {
  return Array.isArray(reply) ? reply : [];
}

function fieldsOf(flat: readonly unknown[]): Readonly<Record<string, string>> {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) pairs.push([String(flat[at]), String(flat[at + 1])]);
  return Object.fromEntries(pairs);
}
