/** What a reader of the rules would write down of one circuit: plain, mutable, without fast paths, and counting anew each time. */
import type { CIRCUIT_STATES, HeldState } from "../../shared/circuit.js";
import type { CircuitConfig } from "../../shared/circuit-config.js";
import type { Verdict } from "../../shared/classification.js";

export interface ModelCall {
  /** It was admitted in a state in which results count. */
  readonly counted: boolean;
  readonly generation: number;
  readonly probe: number;
  readonly beganAt: number;
}

interface Seen {
  readonly at: number;
  /** When the bucket began that it fell into. */
  readonly bucketAt: number;
  readonly failed: boolean;
  readonly slow: boolean;
}

export class ReferenceModel {
  state: (typeof CIRCUIT_STATES)[number] = "closed";
  generation = 0;
  now = 0;
  /** What is drawn whenever chance is asked. */
  chance = 0;
  enforced = true;
  leased = false;
  hold: { state: HeldState; until: number } | undefined;
  readonly moves: string[] = [];
  retryAt = 0;
  successes = 0;
  /** Of any call, also of those that did not count. */
  lastFailureAt: number | undefined;
  #seen: Seen[] = [];
  #failuresThatOpened = 0;
  /** Undefined once they are another process's. */
  #openedBy: readonly Seen[] | undefined = [];
  #openings = 0;
  #since = 0;
  #failedProbes = 0;
  #leases = new Map<number, number>();
  #nextProbe = 1;
  #grant: { permits: number; until: number } | undefined;
  #rampUntil: number | undefined;

  constructor(public config: CircuitConfig) {}

  held(): HeldState | undefined {
    if (this.hold !== undefined && this.now >= this.hold.until) this.hold = undefined;
    return this.hold?.state;
  }

  /** The results that the window holds now. */
  window(): readonly Seen[] {
    const { window, windowCalls, windowMs, failureCountResetMs } = this.config;
    if (window === "time") {
      return this.#seen.filter(({ bucketAt }) => bucketAt > this.#bucketAt() - 10 * Math.ceil(windowMs / 10));
    }
    const seen = window === "count" ? this.#seen.slice(-windowCalls) : this.#seen;
    const lastFailure = seen.findLast(({ failed }) => failed);
    return lastFailure !== undefined && this.now - lastFailure.at >= failureCountResetMs ? [] : seen;
  }

  #bucketAt(): number {
    const bucketMs = Math.ceil(this.config.windowMs / 10);
    return Math.floor(this.now / bucketMs) * bucketMs;
  }

  failures(): number {
    if (this.state !== "closed") return this.#failuresThatOpened;
    return this.window().filter(({ failed }) => failed).length;
  }

  counts(): { calls: number; failures: number; slow: number; slowFailures: number; ratio: number | undefined } {
    const { config } = this;
    const seen = this.state === "closed" ? this.window() : this.#openedBy;
    const probes = this.successes + this.#failedProbes;
    const untold = { slow: 0, slowFailures: 0, ratio: undefined };
    if (this.state === "half_open") return { calls: probes, failures: this.#failedProbes, ...untold };
    if (seen === undefined) return { calls: this.failures(), failures: this.failures(), ...untold };
    const failures = seen.filter(({ failed }) => failed).length;
    const enough = seen.length >= (config.window === "consecutive" ? 1 : config.minimumCalls);
    return {
      calls: seen.length,
      failures,
      slow: seen.filter(({ slow }) => slow).length,
      slowFailures: seen.filter(({ slow, failed }) => slow && failed).length,
      ratio: enough ? failures / seen.length : undefined,
    };
  }

  /** What of the window says to open. */
  trips(): string | undefined {
    const { config } = this;
    const seen = this.window();
    const failures = seen.filter(({ failed }) => failed).length;
    const slow = seen.filter((one) => one.slow).length;
    if (config.window === "consecutive") return failures >= config.failureThreshold ? "failure_threshold" : undefined;
    if (config.windowFailures !== undefined && failures >= config.windowFailures) return "failure_threshold";
    if (seen.length === 0 || seen.length < config.minimumCalls) return undefined;
    if (config.failureRatio !== undefined && failures / seen.length >= config.failureRatio) return "failure_ratio";
    if (config.slowCallMs !== undefined && slow / seen.length >= config.slowCallRatio) return "slow_call_ratio";
    return undefined;
  }

  begin(): ModelCall | undefined {
    const held = this.held();
    const uncounted = { counted: false, generation: -1, probe: 0, beganAt: this.now };
    if (held === "forced_open") return undefined;
    if (held === "disabled") return uncounted;
    const call = this.#beginByState();
    if (call !== undefined) return call;
    return held === "metrics_only" || !this.enforced ? uncounted : undefined;
  }

  #beginByState(): ModelCall | undefined {
    if (this.state === "half_open" && this.#overdue()) this.#endOverdue();
    if (this.state === "closed") {
      if (this.#rampUntil !== undefined && this.config.rampMs !== undefined) {
        const share = 1 - 0.9 * ((this.#rampUntil - this.now) / this.config.rampMs);
        if (this.chance >= share) return undefined;
        if (this.now >= this.#rampUntil) this.#rampUntil = undefined;
      }
      return this.#admitted(0);
    }
    if (this.state === "open") {
      if (this.leased || this.now < this.retryAt) return undefined;
      this.#probe(undefined);
    }
    return this.#beginProbe();
  }

  #beginProbe(): ModelCall | undefined {
    const inFlight = [...this.#leases].filter(([, until]) => until > this.now);
    const over = this.#grant !== undefined && this.now >= this.#grant.until;
    const hung = inFlight.length < this.#leases.size && this.successes === 0;
    if (hung || (over && inFlight.length > 0)) {
      this.#open("half_open_expired");
      return undefined;
    }
    if (over && this.leased) return undefined;
    const permits = over ? undefined : this.#grant?.permits;
    if (inFlight.length >= (permits ?? this.config.halfOpenPermits)) return undefined;
    const probe = this.#nextProbe;
    this.#nextProbe += 1;
    this.#leases = new Map([...inFlight, [probe, this.now + this.config.probeLeaseMs]]);
    return this.#admitted(probe);
  }

  #admitted(probe: number): ModelCall {
    // Nobody measures calls that begin before somebody wants to know how long they take.
    const beganAt = this.config.slowCallMs === undefined ? Number.NaN : this.now;
    return { counted: true, generation: this.generation, probe, beganAt };
  }

  end(call: ModelCall, verdict: Verdict, openForMs?: number): void {
    if (verdict === "failure") this.lastFailureAt = this.now;
    if (!call.counted || call.generation !== this.generation) return;
    const heard = this.held() === "disabled" ? "ignored" : verdict;
    const asked = heard === "failure" && openForMs !== undefined && openForMs > 0 ? openForMs : undefined;
    if (this.state === "closed") this.#endClosed(call, heard, asked);
    else if (this.state === "half_open") this.#endProbe(call, heard, asked);
  }

  #endClosed(call: ModelCall, heard: Verdict, asked: number | undefined): void {
    if (heard === "ignored") return;
    const { window, slowCallMs } = this.config;
    const failed = heard === "failure";
    const slow = slowCallMs !== undefined && this.now - call.beganAt >= slowCallMs;
    const before = window === "consecutive" && !failed ? [] : this.window();
    this.#seen =
      window === "consecutive" && !failed
        ? []
        : [...before, { at: this.now, bucketAt: this.#bucketAt(), failed, slow }];
    const reason = asked === undefined ? this.trips() : "asked_to_wait";
    if (reason !== undefined) this.#open(reason, asked);
  }

  #endProbe(call: ModelCall, heard: Verdict, asked: number | undefined): void {
    if (this.#overdue()) {
      this.#endOverdue();
      return;
    }
    if (!this.#leases.delete(call.probe)) return;
    if (heard === "success") this.successes += 1;
    if (heard === "failure") this.#failedProbes += 1;
    if (asked !== undefined) this.#open("asked_to_wait", asked);
    else this.#settle();
  }

  #settle(): void {
    const { successRatio, successThreshold, halfOpenCalls } = this.config;
    const heard = this.successes + this.#failedProbes;
    if (successRatio !== undefined) {
      if (heard < halfOpenCalls) return;
      if (this.successes / heard >= successRatio) this.#close("probes_succeeded", true);
      else this.#open("probe_failed");
    } else if (this.successes >= successThreshold) this.#close("probes_succeeded", true);
    else if (this.#failedProbes + successThreshold > halfOpenCalls) this.#open("probe_failed");
  }

  #overdue(): boolean {
    return this.config.halfOpenMaxMs !== undefined && this.now - this.#since >= this.config.halfOpenMaxMs;
  }

  #endOverdue(): void {
    if (this.config.halfOpenTarget === "closed") this.#close("half_open_expired", true);
    else this.#open("half_open_expired");
  }

  #move(to: ReferenceModel["state"], reason: string): void {
    this.moves.push(`${this.state}>${to}:${reason}`);
    this.state = to;
    this.generation += 1;
    this.successes = 0;
    this.#failedProbes = 0;
    this.#leases.clear();
    this.#grant = undefined;
    this.#rampUntil = undefined;
  }

  #open(reason: string, asked?: number): void {
    const { resetTimeoutMs, resetTimeoutFactor, maxResetTimeoutMs, resetJitter } = this.config;
    if (this.state === "closed") {
      this.#failuresThatOpened = this.failures();
      this.#openedBy = this.window();
      this.#openings = 0;
    }
    this.#openings += 1;
    const grown = Math.min(resetTimeoutMs * resetTimeoutFactor ** (this.#openings - 1), maxResetTimeoutMs);
    const waitMs = asked === undefined ? grown * (1 - resetJitter * this.chance) : Math.min(asked, maxResetTimeoutMs);
    this.#move("open", reason);
    this.retryAt = this.now + waitMs;
    this.#seen = [];
  }

  #close(reason: string, proven: boolean): void {
    const { rampMs } = this.config;
    this.#move("closed", reason);
    this.#seen = [];
    if (proven && rampMs !== undefined) this.#rampUntil = this.now + rampMs;
  }

  #probe(grant: { permits: number; until: number } | undefined): void {
    this.#move("half_open", "reset_timeout");
    this.#since = this.now;
    this.#nextProbe = 1;
    this.#grant = grant;
  }

  grant(permits: number, leaseMs: number): void {
    const grant = { permits, until: this.now + leaseMs };
    if (this.state === "half_open") this.#grant = grant;
    if (this.state === "open" && this.now >= this.retryAt) this.#probe(grant);
  }

  forceOpen(): void {
    if (this.state !== "open") this.#open("repair");
  }

  reset(): void {
    if (this.state !== "closed") this.#close("operator", false);
    this.#seen = [];
    this.#rampUntil = undefined;
  }

  reconfigure(config: CircuitConfig): void {
    const kind = this.config.window;
    const kept = this.window();
    this.config = config;
    if (this.state === "closed") {
      this.#seen = kind === config.window ? [...kept] : [];
      const reason = this.trips();
      if (reason !== undefined) this.#open(reason);
    } else if (this.state === "half_open") this.#settle();
  }

  /** Its process died and another one begins with what was stored. */
  restart(): void {
    const streak = Math.min(this.failures(), this.config.failureThreshold - 1);
    this.#rampUntil = undefined;
    this.leased = false;
    this.#openedBy = undefined;
    switch (this.state) {
      case "closed": {
        const at = this.lastFailureAt ?? this.now;
        const keeps = this.config.window === "consecutive";
        this.#seen = keeps
          ? Array.from({ length: streak }, () => ({ at, bucketAt: 0, failed: true, slow: false }))
          : [];
        return;
      }
      case "open":
        // What is stored is in whole milliseconds.
        this.retryAt = this.now + Math.max(Math.round(this.retryAt - this.now), 0);
        this.#openings = 1;
        return;
      case "half_open":
        this.state = "open";
        this.retryAt = this.now;
        this.#openings = 1;
        this.successes = 0;
        this.#leases.clear();
    }
  }
}
