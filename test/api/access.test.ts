import { describe, expect, it } from "vitest";
import { type AccessRequest, roleOfRequest } from "../../server/api/access.js";

const READ = "r".repeat(32);
const OPERATE = "o".repeat(32);
const local: AccessRequest = {
  authorization: undefined,
  remoteAddress: "127.0.0.1",
  host: "localhost:3000",
  forwarded: false,
};

describe("the role of a request to the standalone backend", () => {
  it("is read from loopback when no token is set, and never operate", () => {
    expect(roleOfRequest(local, { readToken: undefined, operatorToken: undefined })).toBe("read");
    expect(roleOfRequest(local, { readToken: undefined, operatorToken: OPERATE })).toBe("read");
    expect(roleOfRequest({ ...local, remoteAddress: "::1" }, { readToken: undefined, operatorToken: undefined })).toBe(
      "read",
    );
  });

  it.each<[string, Partial<AccessRequest>]>([
    ["another machine", { remoteAddress: "10.0.0.7" }],
    ["a proxy on this machine", { forwarded: true }],
    ["a page that rebound its name to loopback", { host: "evil.example.org" }],
    ["a request without a host", { host: undefined }],
    ["a wrong token", { authorization: `Bearer ${"x".repeat(32)}` }],
    ["another scheme", { authorization: "Basic YTpi" }],
    ["a closed socket", { remoteAddress: undefined }],
  ])("is none for %s", (_who, change) => {
    expect(roleOfRequest({ ...local, ...change }, { readToken: undefined, operatorToken: OPERATE })).toBeUndefined();
  });

  it("needs the read token once one is set, from loopback too", () => {
    const tokens = { readToken: READ, operatorToken: OPERATE };
    expect(roleOfRequest(local, tokens)).toBeUndefined();
    expect(roleOfRequest({ ...local, authorization: `Bearer ${READ}` }, tokens)).toBe("read");
    expect(roleOfRequest({ ...local, authorization: `Bearer ${OPERATE}` }, tokens)).toBe("operate");
  });
});
