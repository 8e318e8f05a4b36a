/** Providers, or what stands in front of them, that send without end: one clear error, and memory for so much and no more. */
import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, it } from "vitest";
import { createGuardFetch } from "../../../server/guard/llm/guard-fetch.js";
import { MalformedResponseError } from "../../../server/index.js";
import { createGuardsUnderTest, createLlmUnderTest, KEY, providerOf, read, request } from "./llm-harness.js";

const LIMIT = 64;
/** Few, because readers that look for the end of a line look again at all that came before. */
const PIECE = 32;
const BYTES = new Uint8Array(PIECE * 2 ** 20).fill(32);

/** Answers with one character, four times as long as may be, and counts what was taken of it. */
function endless(contentType: string, status = 200) {
  const seen = { taken: 0, ended: 0, requests: 0 };
  const fetch = async () => {
    seen.requests += 1;
    const body = new ReadableStream(
      {
        pull(stream) {
          seen.taken += 1;
          if (seen.taken <= (4 * LIMIT) / PIECE) stream.enqueue(BYTES);
          else stream.close();
        },
        cancel() {
          seen.ended += 1;
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { status, headers: { "content-type": contentType } });
  };
  return { seen, fetch };
}

const TOO_LONG = { name: "MalformedResponseError", message: expect.stringContaining("longer than 64 MiB") };
const where = { baseURL: "http://127.0.0.1:9/v1" };

describe("an answer without end", () => {
  it.each([
    ["a completion", "application/json", 200],
    ["an error in JSON", "application/json", 503],
    ["a page that says an error", "text/html", 502],
  ])("is given up at 64 MiB, and is the provider's failure: %s", async (_name, contentType, status) => {
    const { seen, fetch } = endless(contentType, status);
    const { llm, failures, registry } = createLlmUnderTest(
      { providers: [providerOf("openai", where)] },
      { fetch },
      { rescues: false },
    );
    const error: unknown = await llm.chat(request).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(MalformedResponseError);
    expect(error).toMatchObject({ ...TOO_LONG, service: "llm:openai" });
    expect(seen).toEqual({ taken: LIMIT / PIECE + 1, ended: 1, requests: 1 });
    expect(failures()).toMatchObject([{ failureType: "malformed_response", affectedService: "llm:openai" }]);
    expect(registry.get("llm:openai")?.snapshot().failureCount).toBe(1);
  });

  it("is asked of the next provider", async () => {
    const { fetch } = endless("application/json");
    const answering = { ...where, baseURL: "http://well.invalid/v1" };
    const { llm } = createLlmUnderTest(
      { providers: [providerOf("openai", where), providerOf("deepseek", answering)] },
      {
        fetch: async (url) =>
          String(url).startsWith(answering.baseURL)
            ? Response.json({ choices: [{ index: 0, message: { content: "well" }, finish_reason: "stop" }] })
            : fetch(),
      },
    );
    expect((await llm.chatDetailed(request)).rescue).toMatchObject({ kind: "failed_over", target: "llm:deepseek" });
  });

  const guardedBy = (service: string, fetch: () => Promise<Response>) =>
    createGuardFetch(createGuardsUnderTest({ rescues: false }), service, fetch, { stallTimeoutMs: 5_000 });

  it("of Gemini's, a JSON array instead of a stream, ends with the same error for a client of one's own", async () => {
    const { seen, fetch } = endless("application/json; charset=UTF-8");
    const url = "https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent";
    await expect(guardedBy("llm:gemini", fetch)(url, { method: "POST", body: "{}" })).rejects.toMatchObject(TOO_LONG);
    expect(seen).toEqual({ taken: LIMIT / PIECE + 1, ended: 1, requests: 1 });
  });

  it("is one 502 for an SDK, which does not ask again", async () => {
    const { seen, fetch } = endless("application/json");
    const client = new Anthropic({ apiKey: KEY, fetch: guardedBy("llm:anthropic", fetch) });
    const asking = client.messages.create({ model: "claude", max_tokens: 1, messages: request.messages });
    await expect(asking).rejects.toMatchObject({ status: 502, error: { error: { code: "malformed_response" } } });
    expect(seen.requests).toBe(1);
  });

  it("of another service is read only where it says failure", async () => {
    const failing = endless("application/json", 500);
    await expect(guardedBy("http:billing", failing.fetch)("http://billing.invalid")).rejects.toMatchObject(TOO_LONG);
    const large = endless("application/json");
    const response = await guardedBy("http:billing", large.fetch)("http://billing.invalid");
    expect(large.seen.taken).toBe(0);
    await response.body?.cancel();
  });

  it("in one event of a stream is a malformed stream", async () => {
    const { seen, fetch } = endless("text/event-stream");
    const asking = guardedBy("llm:openai", fetch)("https://api.openai.com/v1/responses", {
      method: "POST",
      body: "{}",
    });
    await expect(asking).rejects.toMatchObject({ name: "TRPCError", how: "malformed" });
    expect(seen).toMatchObject({ ended: 1, requests: 1 });
    expect(seen.taken).toBeLessThanOrEqual(LIMIT / PIECE + 3);
  });

  it("in one event of a stream that the openai package reads is a malformed stream too", async () => {
    const { seen, fetch } = endless("text/event-stream");
    const { llm, failures } = createLlmUnderTest(
      { providers: [providerOf("openai", where)] },
      { fetch },
      { rescues: false },
    );
    expect((await read(llm.stream(request))).error).toMatchObject({ how: "malformed", delivered: false });
    expect(seen.taken).toBeLessThanOrEqual(LIMIT / PIECE + 3);
    expect(failures()).toMatchObject([{ failureType: "malformed_response" }]);
  });
});
