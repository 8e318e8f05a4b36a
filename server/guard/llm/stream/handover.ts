/**
 * Hands items over from one who gives to one who takes, one at a time: the giver waits until the taker came, so that a slow
 * caller holds the connection back instead of filling the memory.
 */

interface Offer<T> {
  readonly item: T;
  readonly taken: (wanted: boolean) => void;
}

type Taker<T> = {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
};

type End = { readonly failed: false } | { readonly failed: true; readonly error: unknown };

const DONE = Object.freeze({ done: true, value: undefined });

export class Handover<T> {
  #offers: Offer<T>[] = [];
  #takers: Taker<T>[] = [];
  #end: End | undefined = undefined;

  /** Resolves when somebody took it; with `false` when nobody will. */
  give(item: T): Promise<boolean> {
    if (this.#end !== undefined) return Promise.resolve(false);
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      taker.resolve({ done: false, value: item });
      return Promise.resolve(true);
    }
    return new Promise((taken) => {
      this.#offers.push({ item, taken });
    });
  }

  /** Rejects once, when everything before was taken, with the error the giver ended with. */
  take(): Promise<IteratorResult<T, undefined>> {
    const offer = this.#offers.shift();
    if (offer !== undefined) {
      offer.taken(true);
      return Promise.resolve({ done: false, value: offer.item });
    }
    if (this.#end !== undefined) return this.#endFor();
    return new Promise((resolve, reject) => {
      this.#takers.push({ resolve, reject });
    });
  }

  /** The giver is done; what was offered can still be taken. */
  end(): void {
    this.#close({ failed: false });
  }

  fail(error: unknown): void {
    this.#close({ failed: true, error });
  }

  /** The taker is gone: what was offered is given back. */
  leave(): void {
    this.end();
    for (const offer of this.#offers.splice(0)) offer.taken(false);
  }

  #close(end: End): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    for (const taker of this.#takers.splice(0)) this.#endFor().then(taker.resolve, taker.reject);
  }

  /** An error is told once; whoever asks again is told that it is over, as of any iterator. */
  #endFor(): Promise<IteratorResult<T, undefined>> {
    const end = this.#end;
    if (end === undefined || !end.failed) return Promise.resolve(DONE);
    this.#end = { failed: false };
    return Promise.reject(end.error);
  }
}
