/** Users who ask at an even pace, whether they are answered or not, and what became of each. */
export interface Asked {
  readonly number: number;
  readonly durationMs: number;
  /** Undefined for an answer. */
  readonly error: unknown;
}

/** @param ask the user with this number asks; what it rejects with is what the user sees */
export async function askEvenly(
  ask: (number: number) => Promise<unknown>,
  { perSecond, seconds }: { readonly perSecond: number; readonly seconds: number },
): Promise<readonly Asked[]> {
  const total = perSecond * seconds;
  const startedAt = performance.now();
  const asked: Promise<Asked>[] = [];
  const one = async (number: number): Promise<Asked> => {
    const askedAt = performance.now();
    const error = await ask(number).then(
      () => undefined,
      (thrown: unknown) => thrown ?? "undefined was thrown",
    );
    return { number, durationMs: performance.now() - askedAt, error };
  };
  await new Promise<void>((resolve) => {
    const pace = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1_000) * perSecond));
      while (asked.length < due) asked.push(one(asked.length));
      if (asked.length < total) return;
      clearInterval(pace);
      resolve();
    }, 5);
  });
  return Promise.all(asked);
}

export function failedOf(asked: readonly Asked[]): readonly Asked[] {
  return asked.filter(({ error }) => error !== undefined);
}

export function p99Of(asked: readonly Asked[]): number {
  const sorted = asked.map(({ durationMs }) => durationMs).toSorted((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? 0;
}
