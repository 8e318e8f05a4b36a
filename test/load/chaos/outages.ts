/** When a service that is reached over a network is away, and how: as a function of a seed. */
import { seededRandom } from "../../../examples/seeded-random.js";
import type { TcpProxy } from "../../support/tcp-proxy.js";

const KINDS = ["cut", "refuse", "blackhole", "slow"] as const;

export interface Outage {
  readonly kind: (typeof KINDS)[number];
  /** From the begin of the run. */
  readonly fromMs: number;
  readonly toMs: number;
}

const OUTAGE_MS = [1_000, 5_000] as const;
const CALM_MS = [4_000, 10_000] as const;
const CUT_EVERY_MS = 250;
/** Later than any caller waits for one attempt. */
const SLOW_MS = 2_500;

/** Away for three of ten seconds on average, at random, and never at the end. */
export function planOutages(seed: number, totalMs: number): readonly Outage[] {
  const random = seededRandom(seed);
  const between = ([least, most]: readonly [number, number]) => least + random() * (most - least);
  const outages: Outage[] = [];
  for (let at = between(CALM_MS) / 2; ; ) {
    const kind = KINDS[Math.floor(random() * KINDS.length)] ?? "cut";
    const toMs = at + between(OUTAGE_MS);
    if (toMs > totalMs) return outages;
    outages.push({ kind, fromMs: at, toMs });
    at = toMs + between(CALM_MS);
  }
}

export function shareOf(outages: readonly Outage[], totalMs: number): number {
  return outages.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0) / totalMs;
}

/** Breaks the network as planned; resolves once it is whole again. */
export async function playOutages(proxy: TcpProxy, outages: readonly Outage[]): Promise<void> {
  const startedAt = performance.now();
  const until = (ms: number) =>
    new Promise<void>((resolve) => setTimeout(resolve, Math.max(0, startedAt + ms - performance.now())));
  for (const { kind, fromMs, toMs } of outages) {
    await until(fromMs);
    if (kind === "cut") {
      for (let at = fromMs; at < toMs; at += CUT_EVERY_MS) {
        proxy.cut();
        await until(Math.min(at + CUT_EVERY_MS, toMs));
      }
    } else {
      if (kind === "slow") proxy.slow(SLOW_MS);
      else proxy[kind]();
      await until(toMs);
    }
    proxy.resume();
    // What was swallowed is gone: whoever waits for it hears that its connection is.
    if (kind === "blackhole") proxy.cut();
  }
}
