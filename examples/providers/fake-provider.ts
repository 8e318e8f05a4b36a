/** One fake OpenAI-compatible provider: a real HTTP server on loopback whose behaviour can be changed while it runs. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { Behaviour, ProviderStatus } from "./behaviour.js";
import { completion, errorReply, type Reply } from "./bodies.js";

export interface FakeProvider {
  /** Ends in `/v1`, as a client's `baseURL` does; the same for the provider's whole life. */
  readonly baseURL: string;
  status(): ProviderStatus;
  /** Calls under way keep the behaviour they began with, unless the provider dies: then their connections are cut. */
  behave(behaviour: Behaviour): Promise<void>;
  close(): Promise<void>;
}

/** @param random numbers in [0, 1) that spread the answering times */
export async function createFakeProvider(name: string, random: () => number, first: Behaviour): Promise<FakeProvider> {
  let behaviour = first;
  let requests = 0;
  let server = await listen(0);
  const { port } = server.address() as AddressInfo;

  async function listen(onPort: number): Promise<Server> {
    const listening = createServer((request, response) => void answer(request, response));
    listening.listen(onPort, "127.0.0.1");
    await once(listening, "listening");
    return listening;
  }

  async function stopListening(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests += 1;
    const id = `req_${name}_${requests}`;
    const present = behaviour;
    const model = await requestedModel(request);
    if (request.method !== "POST" || request.url !== "/v1/chat/completions" || model === undefined) {
      send(response, {
        status: 404,
        headers: {},
        body: { error: { message: "Not found", type: "invalid_request_error" } },
      });
      return;
    }
    const text = `${name}: please bring your insurance card and arrive ten minutes early.`;
    const success = completion({ id, model, text, createdAt: Date.now() });
    switch (present.kind) {
      case "healthy":
        await wait(present.minMs + (present.maxMs - present.minMs) * random() ** 3);
        send(response, success);
        return;
      case "error":
        send(response, errorReply(present.status, id));
        return;
      case "cut":
        response.writeHead(200, { "content-type": "application/json" });
        response.write(JSON.stringify(success.body).slice(0, 60), () => response.destroy());
        return;
      case "hang":
      case "dead":
        return;
    }
  }

  return Object.freeze({
    baseURL: `http://127.0.0.1:${port}/v1`,
    status: () => ({ behaviour, requests }),
    async behave(next: Behaviour) {
      behaviour = next;
      if (next.kind === "dead") await stopListening();
      else if (!server.listening) server = await listen(port);
    },
    close: stopListening,
  });
}

async function requestedModel(request: IncomingMessage): Promise<string | undefined> {
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    return typeof body === "object" && body !== null && "model" in body ? String(body.model) : undefined;
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, reply: Reply): void {
  if (response.destroyed) return;
  response.writeHead(reply.status, { "content-type": "application/json", ...reply.headers });
  response.end(JSON.stringify(reply.body));
}
