import Anthropic from "@anthropic-ai/sdk";
import { TRPCError } from "@trpc/server";
import { APICallError, JSONParseError } from "ai";
import fc from "fast-check";
import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { describeError } from "../../shared/describe-error.js";
import { withoutModelWords } from "../../shared/model-error.js";
import { processorMsOf } from "../support/processor-time.js";

const SAID = 'no for "Jane Roe asks"';
const body = { message: SAID, type: "server_error", code: "server_is_overloaded", param: null };
const openai = OpenAI.APIError.generate(503, { error: body }, undefined, new Headers());
const anthropic = Anthropic.APIError.generate(
  529,
  { type: "error", error: { type: "overloaded_error", message: SAID } },
  undefined,
  new Headers(),
);
const vercel = new APICallError({
  message: SAID,
  url: "http://x",
  requestBodyValues: { prompt: SAID },
  statusCode: 500,
  responseBody: JSON.stringify({ error: body }),
});

describe("an LLM SDK's error", () => {
  it.each([
    ["OpenAI's", openai, "HTTP 503 server_is_overloaded server_error"],
    ["Anthropic's", anthropic, "HTTP 529 overloaded_error"],
    ["the AI SDK's", vercel, "HTTP 500 server_is_overloaded server_error"],
    [
      "one within a stream",
      new OpenAI.APIError(undefined, body, undefined, undefined),
      "server_is_overloaded server_error",
    ],
    ["one about JSON", new JSONParseError({ text: SAID, cause: new Error(SAID) }), "the provider's answer is not kept"],
    [
      "one that tRPC wrapped",
      new TRPCError({ code: "INTERNAL_SERVER_ERROR", cause: openai }),
      "HTTP 503 server_is_overloaded server_error",
    ],
  ])("is told by status and words alone: %s", (_name, error, told) => {
    const { message, stack } = describeError(error);
    expect(message).toBe(told);
    expect(stack).toContain(`: ${told}\n    at `);
    expect(`${message}${stack}`).not.toContain("Jane");
  });

  it("leaves what somebody said about it as it is", () => {
    const error = new TRPCError({ code: "BAD_GATEWAY", message: "the assistant rests", cause: openai });
    expect(describeError(error).message).toBe("the assistant rests");
    expect(describeError(new Error(`asked: ${openai.message} (again)`, { cause: openai })).message).toMatch(
      /^asked: HTTP 503/,
    );
  });

  it("keeps what the SDK says itself, and takes no text for a word", () => {
    expect(describeError(new OpenAI.APIConnectionError({ message: undefined })).message).toBe("Connection error.");
    const hostile = new OpenAI.APIError(
      500,
      { message: SAID, code: "Jane Roe asks", type: "A".repeat(200) },
      undefined,
      new Headers(),
    );
    expect(describeError(hostile).message).toBe("HTTP 500");
  });

  it("changes no other error", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!text.includes("is not valid JSON"));
        expect(withoutModelWords(text, new Error(text))).toBe(text);
      }),
    );
  });
});

describe("an error of reading JSON", () => {
  it("says so without what it read", () => {
    let error: unknown;
    try {
      JSON.parse('{"Jane Roe');
    } catch (thrown) {
      error = thrown;
    }
    expect(describeError(error).message).toMatch(/JSON/);
    expect(describeError(new SyntaxError(`Unexpected token 'J', "Jane Roe" is not valid JSON`)).message).toBe(
      "the text is not valid JSON",
    );
  });

  it("costs no more than its length", () => {
    const hostile = `${"Unexpected ".repeat(500_000)} is not valid JSON`;
    const error = new SyntaxError(hostile);
    expect(processorMsOf(() => describeError(error))).toBeLessThan(2_000);
  });
});
