import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { redactJson, redactText, safeText } from "../../shared/redaction.js";
import { processorMsOf } from "../support/processor-time.js";

describe("redactText", () => {
  it.each([
    ["connect postgres://app:hunter2@db.internal:5432/main", "connect postgres://[redacted]@db.internal:5432/main"],
    ["redis://:p/w?x@ss@cache:6379", "redis://[redacted]@cache:6379"],
    ["https://user:pw@example.org/a?b=c", "https://[redacted]@example.org/a?b=c"],
    ["password=hunter2, user=app", "password=[redacted], user=app"],
    ['{"apiKey":"abc","model":"m"}', '{"apiKey":[redacted],"model":"m"}'],
    ["client_secret: s3cr3t", "client_secret: [redacted]"],
    ["https://x.test/?access_token=abc&page=2", "https://x.test/?access_token=[redacted]&page=2"],
    ["Authorization: Bearer abcdef123456", "Authorization: [redacted]"],
    ["sent Bearer abcdef123456 upstream", "sent Bearer [redacted] upstream"],
    ["set-cookie: sid=1; path=/\nnext", "set-cookie: [redacted]\nnext"],
    ["token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is bad", "token [redacted] is bad"],
    ["Incorrect API key provided: sk-proj-****abcd", "Incorrect API key provided: [redacted]"],
    ["key sk-abcdefghijklmnop used", "key [redacted] used"],
    ["no user jane.doe+x@example.co.uk", "no user [redacted]"],
    ["card 4111 1111 1111 1111 declined", "card [redacted] declined"],
    ["ssn 123-45-6789", "ssn [redacted]"],
    ["call +41 79 123 45 67 back", "call [redacted] back"],
    ["patient 7561234567897", "patient [redacted]"],
    [
      'Failed query: select * from "p" where "name" = ?\nparams: Jane\nDoe,7\n    at run (a.js:1:2)',
      'Failed query: select * from "p" where "name" = ?\nparams: [redacted]\n    at run (a.js:1:2)',
    ],
    ["-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "[redacted]"],
  ])("%s", (text, expected) => {
    expect(redactText(text)).toBe(expected);
    expect(redactText(expected)).toBe(expected);
  });

  it.each([
    "max_tokens: 4096 is more than 2048",
    "Unexpected token '<' at position 0",
    "    at file:///app/node_modules/.pnpm/@trpc+server@11.25.2/node_modules/@trpc/server/dist/index.mjs:12:34",
    "connect ECONNREFUSED 127.0.0.1:5432",
    "at 2026-11-23T20:49:00.123Z",
    "HTTP 529 overloaded_error",
  ])("leaves what tells the fault: %s", (text) => {
    expect(redactText(text)).toBe(text);
  });

  it("finds a secret wherever it stands", () => {
    const secrets = fc.constantFrom(
      "postgres://app:hunter2@db",
      "password=hunter2",
      "Bearer hunter2hunter2",
      "sk-hunter2hunter2",
      "hunter2@example.org",
    );
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), secrets, fc.string({ unit: "binary" }), (before, secret, after) => {
        expect(redactText(`${before} ${secret} ${after}`)).not.toContain("hunter2");
      }),
    );
  });

  it("costs no more than the length of the text, however it is made", () => {
    const hostile = [
      "eyJ",
      "eyJ-",
      "a@",
      "a.",
      "a@a.",
      "redis://",
      "x://a",
      "token",
      'token="',
      "token='x token=\"",
      "cookie",
      "1",
      "+1",
      "1234 ",
      "sk-",
      "\nparams: ",
      "-----BEGIN PRIVATE KEY-----",
      " ",
      "Bearer ",
      "SG.",
    ];
    for (const unit of hostile) {
      const text = unit.repeat(Math.ceil(200_000 / unit.length));
      expect(
        processorMsOf(() => redactText(text)),
        unit,
      ).toBeLessThan(1_000);
    }
  });
});

describe("redactJson", () => {
  it("takes away what stands under telling keys and redacts the rest", () => {
    expect(
      redactJson({ userPassword: 1, headers: { Authorization: "x", "x-api-key": "y" }, tokens: 3, note: "a@b.co" }),
    ).toEqual({
      userPassword: "[redacted]",
      headers: { Authorization: "[redacted]", "x-api-key": "[redacted]" },
      tokens: 3,
      note: "[redacted]",
    });
  });

  it("names what JSON cannot say", () => {
    const cyclic: Record<string, unknown> = { big: 12n, none: undefined, fn() {}, nan: Number.NaN, map: new Map() };
    cyclic.self = cyclic;
    Object.defineProperty(cyclic, "trap", {
      enumerable: true,
      get() {
        throw new Error("trap");
      },
    });
    expect(redactJson(cyclic)).toEqual({
      big: "12",
      none: null,
      fn: "[function]",
      nan: "NaN",
      map: "[Map]",
      self: "[cycle]",
      trap: "[unreadable]",
    });
  });

  it("keeps a key named __proto__ a plain key", () => {
    const result = redactJson(JSON.parse('{"__proto__":{"x":1}}'));
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
    expect(JSON.stringify(result)).toBe('{"__proto__":{"x":1}}');
  });

  it("is bounded in depth, breadth and text", () => {
    let deep: unknown = "end";
    for (let i = 0; i < 20_000; i += 1) deep = { deep };
    const wide = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, "x".repeat(10_000)]));
    const text = JSON.stringify(redactJson({ deep, wide, list: Array.from({ length: 10_000 }, () => 1) }));
    expect(text.length).toBeLessThan(60_000);
  });

  it("sees a secret as one that a bound would cut in two", () => {
    const text = `${"x".repeat(960)} postgres://app:${"hunter2".repeat(20)}@db/main failed`;
    expect(redactJson({ text })).toEqual({ text: `${"x".repeat(960)} postgres://[redacted]@db/main failed` });
    expect(safeText(text, 1_000)).not.toContain("hunter");
  });

  it("never throws and always gives JSON, whatever it gets", () => {
    fc.assert(
      fc.property(
        fc.anything({
          withNullPrototype: true,
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withSparseArray: true,
          withBoxedValues: true,
          withUnicodeString: true,
          size: "medium",
        }),
        (value) => {
          const json = redactJson(value);
          expect(JSON.parse(JSON.stringify(json))).toEqual(json);
          JSON.stringify(json, (key, item) => {
            expect(key).not.toMatch(/\0|\p{Cs}/u);
            if (typeof item === "string") expect(item).not.toMatch(/\0|\p{Cs}/u);
            return item;
          });
        },
      ),
    );
  });
});
