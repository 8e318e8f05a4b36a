/** An OpenAI-compatible provider over real HTTP that answers by script and keeps what it was asked. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { completion } from "../../server/testing/provider-bodies.js";

/** One answer: a status with a body, or whatever `act` does to the connection. */
export interface FakeAnswer {
  readonly status?: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly act?: (response: ServerResponse) => void;
}

export interface FakeProvider {
  readonly baseURL: string;
  /** Bodies of the requests, in order. */
  readonly requests: readonly {
    readonly body: Record<string, unknown>;
    readonly headers: IncomingMessage["headers"];
  }[];
  /** Answers from now on: each once in order, the last one for ever. */
  answers(...answers: readonly FakeAnswer[]): void;
  close(): Promise<void>;
}

export async function startFakeProvider(...script: readonly FakeAnswer[]): Promise<FakeProvider> {
  let queue: readonly FakeAnswer[] = script;
  const requests: { body: Record<string, unknown>; headers: IncomingMessage["headers"] }[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      requests.push({ body: JSON.parse(Buffer.concat(chunks).toString() || "{}"), headers: request.headers });
      const [answer = { body: completion("hello") }, ...rest] = queue;
      if (rest.length > 0) queue = rest;
      if (answer.act) {
        answer.act(response);
        return;
      }
      response.writeHead(answer.status ?? 200, { "content-type": "application/json", ...answer.headers });
      response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    baseURL: `http://127.0.0.1:${port}/v1`,
    requests,
    answers: (...answers) => {
      queue = answers;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
