/**
 * One piece of guarded work for one caller, as nearly every call goes: one attempt, synchronous up to the service, and its
 * value. Whatever else becomes of a call, from a refusal to a second attempt, is its {@link RescuedCall}, made when it is needed.
 */
import type { CallInfo } from "../ports/call-context.js";
import { accountSuccess } from "./accounting.js";
import { type Asker, admit, circuitOf, serviceAt } from "./admission.js";
import { AskedWork, type TargetFunctions } from "./asked-work.js";
import type { Attempt, AttemptOwner } from "./attempt.js";
import type { Detailed } from "./guard.js";
import type { GuardEngine } from "./guard-engine.js";
import type { Runnable } from "./pass-through.js";
import type { Work } from "./rescuable-call.js";
import { RescuedCall } from "./rescued-call.js";

/** As for its attempts: fields are assigned in the constructor, and methods are private by their type alone. */
export class GuardedCall extends AskedWork implements AttemptOwner, Asker, Runnable {
  /** Of the target asked first. */
  #index: number;
  #hasBegun: boolean;
  #rescued: RescuedCall | undefined;
  #resolve: (value: unknown) => void;
  #reject: (error: unknown) => void;

  /** @param functions one for each service of `work` */
  constructor(
    engine: GuardEngine,
    work: Work,
    functions: TargetFunctions,
    args: readonly unknown[],
    info: CallInfo | undefined,
    startedAt: number,
  ) {
    super(engine, work, functions, args, info, startedAt);
    this.#index = 0;
    this.#hasBegun = false;
    this.#rescued = undefined;
    this.#resolve = ignore;
    this.#reject = ignore;
  }

  run(): Promise<unknown> {
    // A deadline ends an attempt in a timer, whose async context is another call's; in `then` it is this caller's again.
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.begin();
    }).then(undefined, (fault: unknown) => this.rescue(fault));
  }

  /** Goes on with a call whose attempt has begun already: settles it when that ends. */
  goOn(resolve: (value: unknown) => void, reject: (error: unknown) => void): void {
    this.#hasBegun = true;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Every other way to an answer, once the first attempt has ended without one. @param fault as of `rescue` */
  rescue(fault: unknown): Promise<unknown> {
    return this.rescued.rescue(fault);
  }

  async runDetailed(): Promise<Detailed<unknown>> {
    const value = await this.run();
    const durationMs = this.engine.clock.monotonic() - this.startedAt;
    if (this.#rescued !== undefined) return { value, rescue: this.#rescued.rescueAfter(durationMs) };
    const kind = this.#index > 0 ? "failed_over" : "fresh";
    return { value, rescue: { kind, target: serviceAt(this, this.#index).name, attempts: 1, durationMs } };
  }

  private begin(): void {
    if (this.gone !== undefined) {
      this.#reject(undefined);
      return;
    }
    this.#index = this.firstIndex();
    const service = serviceAt(this, this.#index);
    const circuit = circuitOf(this, service, this.startedAt);
    if (!service.beginsAtOnce || circuit?.ready !== undefined) {
      this.rescued.ask().then(this.#resolve, this.#reject);
      return;
    }
    const admission = admit(this, this.#index, circuit, this.startedAt);
    if (admission.refused) {
      this.rescued.refusedBy(admission, this.#index);
      this.#reject(undefined);
      return;
    }
    this.#hasBegun = true;
    service.budget.earn();
    admission.run(this, this.functions[this.#index] ?? this.functions[0], this.args);
  }

  attemptEnded(attempt: Attempt): void {
    if (attempt.state === "succeeded") {
      try {
        accountSuccess(attempt);
      } catch (fault) {
        this.engine.onFault(fault);
      }
      this.#resolve(attempt.result);
    } else {
      this.rescued.conclude(attempt);
      this.#reject(undefined);
    }
  }

  delivered(): void {
    this.rescued.delivered();
  }

  get runsAgain(): boolean {
    return this.rescued.runsAgain;
  }

  passesOver(index: number): boolean {
    return index === this.#index;
  }

  private get rescued(): RescuedCall {
    this.#rescued ??= new RescuedCall(this, this.#index, this.#hasBegun);
    return this.#rescued;
  }

  /** The first target that does not rest; the first of all where none may be passed over. */
  private firstIndex(): number {
    const { services } = this.work;
    if (services.length === 1 || !this.engine.flags.failover || !this.mayRescue(services[0])) return 0;
    return Math.max(
      services.findIndex((service) => service.restsForMs(this.startedAt) === 0),
      0,
    );
  }
}

function ignore(): void {}
