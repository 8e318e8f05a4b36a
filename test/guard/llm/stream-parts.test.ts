import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tokensOf } from "../../../server/guard/llm/gen-ai-meter.js";
import { partsOf } from "../../../server/guard/llm/provider-parts.js";
import { ChatReader } from "../../../server/guard/llm/stream/chat-reader.js";
import { Handover } from "../../../server/guard/llm/stream/handover.js";
import { sseEvents } from "../../../server/guard/llm/stream/sse.js";
import { SseReader } from "../../../server/guard/llm/stream/sse-reader.js";
import type { StreamReader } from "../../../server/guard/llm/stream/stream-reader.js";
import { watchStream } from "../../../server/guard/llm/stream/watch-stream.js";
import { answerTo, event } from "../../../server/testing.js";
import { createFakeClock, settle } from "../../support/fake-clock.js";
import { createStarvedClock } from "../../support/starved-clock.js";
import { settled } from "../guard-harness.js";

function bodyOf(chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(stream) {
      for (const chunk of chunks) stream.enqueue(chunk);
      stream.close();
    },
  });
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe("server-sent events", () => {
  const field = fc.record({
    name: fc.option(fc.stringMatching(/^[a-z.]{1,10}$/), { nil: undefined }),
    data: fc.array(
      fc.string({ unit: "grapheme" }).filter((text) => !/[\r\n]/.test(text)),
      { minLength: 1, maxLength: 3 },
    ),
  });

  it("are the same however the network cuts them, and pass unchanged", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(field, { maxLength: 6 }),
        fc.constantFrom("\n", "\r\n", "\r"),
        fc.array(fc.nat({ max: 40 }), { maxLength: 30 }),
        async (fields, newline, cuts) => {
          const events = fields.map(({ name, data }) =>
            [...(name === undefined ? [] : [`event: ${name}`]), ...data.map((line) => `data: ${line}`), "", ""].join(
              newline,
            ),
          );
          const bytes = new TextEncoder().encode(events.join(""));
          const chunks: Uint8Array[] = [];
          let from = 0;
          for (const cut of cuts) {
            chunks.push(bytes.subarray(from, from + cut));
            from = Math.min(from + cut, bytes.length);
          }
          chunks.push(bytes.subarray(from));
          const seen = await collect(sseEvents(bodyOf(chunks)));
          expect(seen.map(({ raw }) => raw).join("")).toBe(events.join(""));
          expect(seen.map(({ name, data }) => ({ name, data }))).toEqual(
            fields.map(({ name, data }) => ({ name, data: data.join("\n") })),
          );
          expect(seen.some(({ isTorn }) => isTorn)).toBe(false);
        },
      ),
    );
  });

  it("leave comments out, and say of the last one whether it is torn", async () => {
    const text = ': keep-alive\n\nid: 7\n\ndata: a\n\ndata: {"b":';
    const seen = await collect(sseEvents(bodyOf([new TextEncoder().encode(text)])));
    expect(seen.map(({ data, isTorn }) => [data, isTorn])).toEqual([
      ["a", false],
      ['{"b":', true],
    ]);
  });

  it("torn apart are no content, and no malformed event either: a cut shows at the end", () => {
    const reader = new SseReader("llm:a");
    expect(reader.read({ raw: "", name: undefined, data: '{"choices":[', isTorn: true })).toBe(false);
    expect(reader.finished).toBe(false);
    expect(() => reader.read({ raw: "", name: undefined, data: '{"choices":[', isTorn: false })).toThrow("not JSON");
  });
});

describe("a handover", () => {
  it("gives everything once and in order, whoever is faster", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer(), { maxLength: 20 }), fc.scheduler(), async (items, scheduler) => {
        const handover = new Handover<number>();
        const giving = (async () => {
          for (const item of items) {
            await scheduler.schedule(Promise.resolve());
            expect(await handover.give(item)).toBe(true);
          }
          handover.end();
        })();
        const taken: number[] = [];
        const taking = (async () => {
          for (;;) {
            await scheduler.schedule(Promise.resolve());
            const result = await handover.take();
            if (result.done) return;
            taken.push(result.value);
          }
        })();
        await scheduler.waitFor(Promise.all([giving, taking]));
        expect(taken).toEqual(items);
      }),
    );
  });

  it("holds the giver back until somebody takes", async () => {
    const handover = new Handover<number>();
    let given = false;
    const giving = handover.give(1).then(() => {
      given = true;
    });
    await settle();
    expect(given).toBe(false);
    expect(await handover.take()).toEqual({ done: false, value: 1 });
    await giving;
  });

  it("tells an error once, after what was offered, and then that it is over", async () => {
    const handover = new Handover<number>();
    const first = handover.give(1);
    handover.fail(new Error("cut"));
    expect(await handover.take()).toEqual({ done: false, value: 1 });
    expect(await first).toBe(true);
    await expect(handover.take()).rejects.toThrow("cut");
    expect(await handover.take()).toEqual({ done: true, value: undefined });
  });

  it("gives back what was offered to somebody who left, and tells a waiting taker of the end", async () => {
    const handover = new Handover<number>();
    const giving = handover.give(1);
    handover.leave();
    expect(await giving).toBe(false);
    expect(await handover.give(2)).toBe(false);
    const waiting = new Handover<number>();
    const taking = waiting.take();
    waiting.fail("gone");
    await expect(taking).rejects.toBe("gone");
  });
});

describe("a watched stream", () => {
  function watch(reader: StreamReader<unknown> = new ChatReader()) {
    const clock = createStarvedClock(createFakeClock());
    const source = new Handover<unknown>();
    const given: unknown[] = [];
    const marks: string[] = [];
    let wanted: (() => Promise<boolean>) | undefined;
    const outcome = settled(
      watchStream(clock, {
        service: "llm:a",
        source: { [Symbol.asyncIterator]: () => ({ next: () => source.take() }) },
        reader,
        context: { signal: new AbortController().signal, delivered: () => void marks.push("delivered"), used() {} },
        give: async (item) => {
          given.push(item);
          return wanted === undefined ? true : wanted();
        },
        stallTimeoutMs: 1_000,
        onFirstContent: () => void marks.push("first"),
        hangUp: () => void marks.push("hung up"),
      }),
    );
    const send = async (delta: unknown, finish: string | null = null) => {
      void source.give({ choices: [{ index: 0, delta, finish_reason: finish }] });
      await settle();
    };
    return {
      clock,
      source,
      given,
      marks,
      outcome,
      send,
      consume: (next: () => Promise<boolean>) => {
        wanted = next;
      },
    };
  }

  it("has all the time of the attempt until its first content, and then so much for each silence", async () => {
    const { clock, send, outcome, marks } = watch();
    await send({ role: "assistant" });
    await clock.advance(60_000);
    expect(marks).toEqual([]);
    await send({ content: "a" });
    expect(marks).toEqual(["delivered", "first"]);
    await clock.advance(999);
    await send({ content: "b" });
    await clock.advance(999);
    expect(marks).toHaveLength(2);
    await clock.advance(1);
    expect(await outcome).toMatchObject({ error: { how: "stalled" } });
    expect(marks).toEqual(["delivered", "first", "hung up"]);
  });

  it("is not silent where content waits that came while the event loop was blocked", async () => {
    const { clock, send, outcome, marks } = watch();
    await send({ content: "a" });
    clock.setTimer(() => {
      clock.lateMs = 0;
      void send({ content: "b" });
    }, 1_000);
    clock.lateMs = 5_000;
    await clock.advance(1_000);
    expect(marks).toEqual(["delivered", "first"]);
    await clock.advance(1_000);
    expect(await outcome).toMatchObject({ error: { how: "stalled" } });
  });

  it("is not kept alive by what has no content", async () => {
    const { clock, send, outcome } = watch();
    await send({ content: "a" });
    for (let i = 0; i < 10; i += 1) {
      await clock.advance(100);
      await send({ role: "assistant", content: "" });
    }
    expect(await outcome).toMatchObject({ error: { how: "stalled" } });
  });

  it("is not silent while its caller is slow, and no less patient afterwards", async () => {
    const { clock, send, outcome, consume, marks, source } = watch();
    let take: (wanted: boolean) => void = () => {};
    consume(
      () =>
        new Promise((resolve) => {
          take = resolve;
        }),
    );
    await send({ content: "a" });
    await clock.advance(60_000);
    expect(marks).toEqual(["delivered", "first"]);
    take(true);
    await settle();
    await clock.advance(900);
    consume(async () => true);
    await send({ content: "b" });
    await clock.advance(900);
    expect(marks).toHaveLength(2);
    await send({}, "stop");
    source.end();
    expect(await outcome).toEqual({ value: undefined });
    await clock.advance(60_000);
    expect(clock.pendingTimers).toBe(0);
  });

  it("that was whole may stay open as long as it likes", async () => {
    const { clock, send, outcome } = watch();
    await send({ content: "a" });
    await send({}, "stop");
    await clock.advance(1_000);
    expect(await outcome).toEqual({ value: undefined });
  });

  it("is given up when it greets for ever", async () => {
    const { send, outcome, given } = watch();
    for (let i = 0; i < 1_001; i += 1) await send({ role: "assistant" });
    expect(await outcome).toMatchObject({ error: { how: "malformed" } });
    expect(given).toEqual([]);
  });
});

describe("tokens", () => {
  it.each([
    ["OpenAI", { prompt_tokens: 11, completion_tokens: 7, prompt_tokens_details: { cached_tokens: 4 } }, [11, 7, 4]],
    ["DeepSeek", { prompt_tokens: 11, completion_tokens: 7, prompt_cache_hit_tokens: 3 }, [11, 7, 3]],
    [
      "Anthropic",
      { input_tokens: 5, output_tokens: 7, cache_read_input_tokens: 4, cache_creation_input_tokens: 2 },
      [11, 7, 4],
    ],
    ["Google", { promptTokenCount: 11, candidatesTokenCount: 7 }, [11, 7, 0]],
    ["the AI SDK", { inputTokens: { total: 11, cacheRead: 4 }, outputTokens: { total: 7 } }, [11, 7, 4]],
    ["an embedding", { prompt_tokens: 11, total_tokens: 11 }, [11, undefined, 0]],
    ["nobody", undefined, [undefined, undefined, 0]],
    ["nonsense", { prompt_tokens: -1, completion_tokens: "7" }, [undefined, undefined, 0]],
  ])("are read as %s counts them", (_name, usage, [input, output, cached]) => {
    expect(tokensOf(usage)).toEqual({ input, output, cached });
  });
});

describe("the circuits of what a request uses", () => {
  it("are named without the key, and by nothing that leads back to it", () => {
    const names = partsOf({ service: "llm:a", model: "org/m", apiKey: "sk-secret" }).map(({ circuit }) => circuit);
    expect(names[0]).toBe("llm:a:model:org%2Fm");
    expect(names[1]).toMatch(/^llm:a:key:[0-9a-f]{8}$/);
    expect(names[2]).toBe(names[1]?.replace("key", "account"));
    expect(
      partsOf({ service: "llm:a", model: undefined, apiKey: "other", account: "clinic" }).map(({ circuit }) => circuit),
    ).toEqual([expect.not.stringMatching(names[1] ?? ""), "llm:a:account:clinic"]);
  });
});

describe("the fixture's events", () => {
  it("are whole streams in each API's grammar, which the readers here accept", () => {
    for (const path of ["/v1/chat/completions", "/v1/messages"]) {
      const reader = new SseReader("llm:a");
      const events = answerTo(path, {}, { id: "1", text: ["a", "b"] })?.events ?? [];
      const contents = events.filter((raw) => {
        const [, name] = /^event: (.*)$/m.exec(raw) ?? [];
        const [, data = ""] = /^data: (.*)$/m.exec(raw) ?? [];
        return reader.read({ raw, name, data, isTorn: false });
      });
      expect(contents).toHaveLength(2);
      expect(reader.finished).toBe(true);
    }
    expect(event("[DONE]")).toBe("data: [DONE]\n\n");
  });
});
