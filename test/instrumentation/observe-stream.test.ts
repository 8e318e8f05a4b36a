import EventEmitter, { on } from "node:events";
import { ReadableStream } from "node:stream/web";
import { observable } from "@trpc/server/observable";
import { describe, expect, it } from "vitest";
import { observeStream, type StreamEnd } from "../../server/instrumentation/observe-stream.js";

function observe<T extends object>(stream: T, signal?: AbortSignal) {
  const ends: StreamEnd[] = [];
  const late: unknown[] = [];
  let steps = 0;
  const observed = observeStream(stream, {
    signal,
    run(step) {
      steps += 1;
      return step();
    },
    onEnd: (end) => void ends.push(end),
    onLateError: (error) => void late.push(error),
  });
  return { observed, ends, late, steps: () => steps };
}

async function* count(upTo: number) {
  for (let i = 1; i <= upTo; i += 1) yield i;
  return "end";
}

describe("observeStream", () => {
  it("passes every value by reference and ends with the stream", async () => {
    const values = [{ a: 1 }, { b: 2 }];
    const { observed, ends, steps } = observe(
      (async function* () {
        yield* values;
      })(),
    );
    const seen: unknown[] = [];
    for await (const value of observed) {
      expect(ends).toEqual([]);
      seen.push(value);
    }
    expect(seen[0]).toBe(values[0]);
    expect(seen[1]).toBe(values[1]);
    expect(ends).toEqual([{ type: "completed", by: "source" }]);
    expect(steps()).toBe(3 + 1);
  });

  it("passes the error by reference and ends once", async () => {
    const thrown = Object.freeze(new Error("cut"));
    const { observed, ends } = observe(
      (async function* () {
        yield 1;
        throw thrown;
      })(),
    );
    await expect(
      (async () => {
        for await (const _ of observed);
      })(),
    ).rejects.toBe(thrown);
    expect(ends).toEqual([{ type: "failed", error: thrown }]);
  });

  it("ends when the reader has had enough, and lets the generator clean up", async () => {
    let cleaned = false;
    const { observed, ends } = observe(
      (async function* () {
        try {
          yield 1;
          yield 2;
        } finally {
          cleaned = true;
        }
      })(),
    );
    for await (const _ of observed) break;
    expect(cleaned).toBe(true);
    expect(ends).toEqual([{ type: "completed", by: "reader" }]);
  });

  it("tells a clean-up that fails", async () => {
    const thrown = new Error("cannot close");
    const { observed, ends } = observe(
      (async function* (): AsyncGenerator<number, undefined> {
        try {
          yield 1;
          return undefined;
        } finally {
          // biome-ignore lint/correctness/noUnsafeFinally: a clean-up that fails is what is tested
          throw thrown;
        }
      })(),
    );
    await observed.next();
    await expect(observed.return(undefined)).rejects.toBe(thrown);
    expect(ends).toEqual([{ type: "failed", error: thrown }]);
  });

  it("ends with the client's abort, though the generator never looks at its signal", async () => {
    const controller = new AbortController();
    const { observed, ends } = observe(
      (async function* () {
        await new Promise(() => {});
        yield 1;
      })(),
      controller.signal,
    );
    void observed.next();
    controller.abort();
    expect(ends).toEqual([{ type: "aborted" }]);
  });

  it("tells an error after its end apart, whether a step was under way or began then", async () => {
    const controller = new AbortController();
    const [waiting, closing] = [new Error("was reading"), new Error("cannot close")];
    let reject = (_: Error) => {};
    const source = {
      next: () =>
        new Promise<never>((_, rejects) => {
          reject = rejects;
        }),
      return: () => Promise.reject(closing),
    };
    const { observed, ends, late } = observe(source, controller.signal);
    const step = observed.next();
    controller.abort();
    reject(waiting);
    await expect(step).rejects.toBe(waiting);
    await expect(observed.return()).rejects.toBe(closing);
    expect(ends).toEqual([{ type: "aborted" }]);
    expect(late).toEqual([waiting, closing]);
  });

  it("ends at once when the client has already left", () => {
    expect(observe(count(1), AbortSignal.abort()).ends).toEqual([{ type: "aborted" }]);
  });

  it("looks like the generator it follows, its return value and injected errors included", async () => {
    const { observed, ends } = observe(count(1));
    expect(Object.prototype.toString.call(observed)).toBe("[object AsyncGenerator]");
    expect(observed[Symbol.asyncIterator]()).toBe(observed);
    expect(await observed.next()).toEqual({ value: 1, done: false });
    expect(await observed.next()).toEqual({ value: "end", done: true });
    expect(ends).toEqual([{ type: "completed", by: "source" }]);
    const thrown = new Error("injected");
    const second = observe(count(3));
    await second.observed.next();
    await expect(second.observed.throw(thrown)).rejects.toBe(thrown);
    expect(second.ends).toEqual([{ type: "failed", error: thrown }]);
  });

  it("shows what the stream itself holds, frozen or not", () => {
    for (const hold of [Object.freeze, <T>(stream: T) => stream]) {
      const stream = hold({ topic: "news", [Symbol.asyncIterator]: () => count(2) });
      const { observed } = observe(stream);
      expect(Reflect.ownKeys(observed)).toEqual(Reflect.ownKeys(stream));
      expect(JSON.stringify(observed)).toBe('{"topic":"news"}');
      expect({ ...observed }).toMatchObject({ topic: "news" });
      expect(Object.hasOwn(observed, "topic")).toBe(true);
    }
  });

  it("follows iterators of events, frozen iterables and streams with faces of their own", async () => {
    const emitter = new EventEmitter();
    const events = observe(on(emitter, "add"));
    emitter.emit("add", 7);
    expect(await events.observed.next()).toEqual({ value: [7], done: false });
    await events.observed.return?.();
    expect(events.ends).toEqual([{ type: "completed", by: "reader" }]);

    const frozen = observe(Object.freeze({ [Symbol.asyncIterator]: () => count(2) }));
    const seen: number[] = [];
    for await (const value of frozen.observed) seen.push(value);
    expect(seen).toEqual([1, 2]);
    expect(frozen.ends).toEqual([{ type: "completed", by: "source" }]);

    const stream = observe(ReadableStream.from([1, 2]));
    expect(stream.observed).toBeInstanceOf(ReadableStream);
    expect(stream.observed.locked).toBe(false);
    for await (const _ of stream.observed);
    expect(stream.ends).toEqual([{ type: "completed", by: "source" }]);
  });

  it("starts a lazy thenable once, and survives results that cannot be read", async () => {
    let started = 0;
    const lazy = {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: () => ({
        // biome-ignore lint/suspicious/noThenProperty: a thenable that works when it is asked is what is tested
        then(resolve: (result: unknown) => void) {
          started += 1;
          resolve({ value: started, done: started > 1 });
        },
      }),
    };
    const { observed, ends } = observe(lazy);
    await observed.next();
    await observed.next();
    expect(started).toBe(2);
    expect(ends).toEqual([{ type: "completed", by: "source" }]);

    const hostile = observe({
      next: async () =>
        Object.defineProperty({}, "done", {
          get() {
            throw new Error("trap");
          },
        }),
    });
    await hostile.observed.next();
    expect(hostile.ends).toEqual([]);
  });

  it("ends with what is thrown before there is a promise", () => {
    const thrown = new Error("at once");
    const { observed, ends } = observe({
      next() {
        throw thrown;
      },
    });
    expect(() => observed.next()).toThrow(thrown);
    expect(ends).toEqual([{ type: "failed", error: thrown }]);
  });

  it("follows an observable through its operators, and ends where it cannot be subscribed to", () => {
    const { observed, ends, steps } = observe(
      observable<number>((observer) => {
        observer.next(1);
        observer.complete();
      }),
    );
    const seen: number[] = [];
    observed.pipe((source) => source).subscribe({ next: (value) => void seen.push(value) });
    expect(seen).toEqual([1]);
    expect(ends).toEqual([{ type: "completed", by: "source" }]);
    expect(steps()).toBe(1);
    const cut = new Error("cut");
    const broken = observe({
      subscribe() {
        throw cut;
      },
    });
    expect(() => Reflect.apply(broken.observed.subscribe, undefined, [{}])).toThrow(cut);
    expect(broken.ends).toEqual([{ type: "failed", error: cut }]);
  });
});
