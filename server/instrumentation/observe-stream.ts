/** Follows the stream or observable that a call returned to its real end, and runs its steps in its call's context. */
import { readSafely } from "../../shared/describe-error.js";

export type StreamEnd =
  /** It said `done`, or whoever read it had enough. */
  | { readonly type: "completed"; readonly by: "source" | "reader" }
  | { readonly type: "failed"; readonly error: unknown }
  /** The client left. */
  | { readonly type: "aborted" };

export interface StreamObserver {
  /** Runs one step in the context of the call. */
  run<T>(step: () => T): T;
  /** Called once, before it is used first. Must not throw. */
  onBegin?(): void;
  /** Called for each value that the stream gave. Must not throw. */
  onEvent?(): void;
  /** Called once. Must not throw. */
  onEnd(end: StreamEnd): void;
  /** An error after the end, as of a clean-up that fails once its client has left. Must not throw. */
  onLateError?(error: unknown): void;
  readonly signal: AbortSignal | undefined;
}

/**
 * The stream behind a proxy that looks and behaves like it, values, errors and promises by reference included; only its
 * stepping is seen: `next`, `return`, `throw`, disposal, and the iterators it gives; of an observable, what its subscribers
 * are told. The end is the first of: `done`, an error, `return` or unsubscribing by the reader, the client's abort. A generator
 * that ignores the abort of its signal may run on; its call has ended then all the same.
 */
export function observeStream<T extends object>(
  stream: T,
  { run, onBegin, onEvent, onEnd, onLateError, signal }: StreamObserver,
): T {
  let begun = false;
  let ended = false;
  const begin = () => {
    if (!begun) onBegin?.();
    begun = true;
  };
  const end = (how: StreamEnd) => {
    if (ended) return;
    ended = true;
    signal?.removeEventListener("abort", onAbort);
    onEnd(how);
  };
  const onAbort = () => end({ type: "aborted" });
  const failed = (error: unknown) => (ended ? onLateError?.(error) : end({ type: "failed", error }));

  /** Gives what the step itself gave, so that waiting and failing stay as they were. */
  const step = (closes: boolean, advance: () => unknown): unknown => {
    let outcome: unknown;
    try {
      outcome = run(advance);
    } catch (error) {
      failed(error);
      throw error;
    }
    // A thenable of somebody's own may start its work with each `then`: it is asked once, here.
    const promise = isPromise(outcome) ? outcome : Promise.resolve(outcome);
    promise.then((result: unknown) => {
      if (closes) end({ type: "completed", by: "reader" });
      else if (isDone(result)) end({ type: "completed", by: "source" });
      else if (!ended) onEvent?.();
    }, failed);
    return promise;
  };

  /** What a subscriber is told is counted before he is: he may be why the call ends. */
  const subscribe = (source: object, subscriber: object): unknown => {
    let hasLeft = false;
    const told = (name: "next" | "error" | "complete", first: (value: unknown) => void) => (value: unknown) => {
      if (!ended && !hasLeft) first(value);
      const tell: unknown = Reflect.get(subscriber, name);
      return typeof tell === "function" ? Reflect.apply(tell, subscriber, [value]) : undefined;
    };
    const observer = {
      next: told("next", () => onEvent?.()),
      error: told("error", (error) => end({ type: "failed", error })),
      complete: told("complete", () => end({ type: "completed", by: "source" })),
    };
    try {
      const subscription: unknown = run(() => Reflect.apply(Reflect.get(source, "subscribe"), source, [observer]));
      return {
        unsubscribe() {
          hasLeft = true;
          // When its client leaves, tRPC unsubscribes and aborts, in either order.
          void Promise.resolve().then(() => end({ type: "completed", by: "reader" }));
          const unsubscribe: unknown = isObject(subscription) && Reflect.get(subscription, "unsubscribe");
          if (typeof unsubscribe === "function") Reflect.apply(unsubscribe, subscription, []);
        },
      };
    } catch (error) {
      end({ type: "failed", error });
      throw error;
    }
  };

  /** The target is empty, so that a frozen stream cannot forbid what the proxy answers; everything else reaches the stream. */
  const observe = <S extends object>(source: S): S => {
    const proxy: S = new Proxy<S>(emptyTarget<S>(), {
      get(_target, key) {
        const value: unknown = Reflect.get(source, key, source);
        if (typeof value !== "function") return value;
        const call = (...args: unknown[]): unknown => {
          begin();
          return Reflect.apply(value, source, args);
        };
        switch (key) {
          case "next":
          case "throw":
            return (...args: unknown[]) => step(false, () => call(...args));
          case "return":
          case DISPOSE:
            return (...args: unknown[]) => step(true, () => call(...args));
          case Symbol.asyncIterator:
            return () => {
              const iterator = run(() => call());
              return iterator === source ? proxy : isObject(iterator) ? observe(iterator) : iterator;
            };
          case "subscribe":
            return (...args: unknown[]) => {
              begin();
              return isObject(args[0]) ? subscribe(source, args[0]) : call(...args);
            };
          case "pipe":
            return (...args: unknown[]) => ("subscribe" in source ? args.reduce(applied, proxy) : call(...args));
          default:
            return call;
        }
      },
      has: (_target, key) => Reflect.has(source, key),
      set: (_target, key, value) => Reflect.set(source, key, value),
      getPrototypeOf: () => Reflect.getPrototypeOf(source),
      ownKeys: () => Reflect.ownKeys(source),
      getOwnPropertyDescriptor: (_target, key) => {
        const descriptor = Reflect.getOwnPropertyDescriptor(source, key);
        // A proxy may not call fixed what its target does not have.
        return descriptor && { ...descriptor, configurable: true };
      },
    });
    return proxy;
  };

  if (signal?.aborted) onAbort();
  else signal?.addEventListener("abort", onAbort, { once: true });
  return observe(stream);
}

/** Absent from the types of this library level, and from Node before 20. */
const DISPOSE: symbol | undefined = Reflect.get(Symbol, "asyncDispose");

/** Never read: every trap that could show it answers from the source instead. */
function emptyTarget<S extends object>(): S {
  return {} as S;
}

/** What an operator makes of an observable. */
function applied(source: unknown, operator: unknown): unknown {
  return typeof operator === "function" ? Reflect.apply(operator, undefined, [source]) : source;
}

function isDone(result: unknown): boolean {
  return readSafely(result, "done") === true;
}

function isPromise(value: unknown): value is Promise<unknown> {
  try {
    return value instanceof Promise;
  } catch {
    return false;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
