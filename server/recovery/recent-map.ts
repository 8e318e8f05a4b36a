/** A map that forgets what was not touched for long: two generations, each bounded, so that forgetting costs nothing. */

export interface RecentMap<K, V> {
  get(key: K): V | undefined;
  has(key: K): boolean;
  set(key: K, value: V): void;
}

/**
 * Keeps at least the `capacity` keys set or read last, and at most twice as many.
 *
 * @example
 * const links = createRecentMap<string, string>(20_000);
 */
export function createRecentMap<K, V>(capacity: number): RecentMap<K, V> {
  let young = new Map<K, V>();
  let old = new Map<K, V>();

  const set = (key: K, value: V) => {
    young.set(key, value);
    if (young.size < capacity) return;
    old = young;
    young = new Map();
  };

  return Object.freeze<RecentMap<K, V>>({
    get(key) {
      const value = young.get(key);
      if (value !== undefined) return value;
      const aged = old.get(key);
      if (aged !== undefined) set(key, aged);
      return aged;
    },
    has: (key) => young.has(key) || old.has(key),
    set,
  });
}
