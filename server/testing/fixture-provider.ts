/** An LLM provider over real HTTP on this machine, which answers by script: for tests of how an app bears what providers do. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { readProperty } from "../../shared/error-facts.js";
import { isJsonObject } from "../../shared/failure.js";
import { delay, systemClock } from "../ports/clock.js";
import type { FixtureBehaviour, FixtureRequest } from "./fixture-behaviour.js";
import { answerTo, event } from "./healthy-answer.js";

/** What decides the next answer: a script, or a function of the request. */
export type FixtureScript = readonly FixtureBehaviour[] | ((request: FixtureRequest) => FixtureBehaviour);

export interface FixtureProvider {
  /** Ends in `/v1`, as the `openai` package wants it; the same for the provider's whole life. */
  readonly baseURL: string;
  /** Without a path, as `@anthropic-ai/sdk` wants it. */
  readonly origin: string;
  /** What arrived, in order. */
  readonly requests: readonly FixtureRequest[];
  /** From now on: each once in order, the last one for ever; or whatever the function says. */
  behaves(...script: readonly FixtureBehaviour[]): void;
  /** From now on, whatever `decide` says of each request. */
  decides(decide: (request: FixtureRequest) => FixtureBehaviour): void;
  /** Stops to listen and drops every connection: refused until `revive`. */
  die(): Promise<void>;
  /** Listens again under the same address. */
  revive(): Promise<void>;
  close(): Promise<void>;
}

const HEALTHY: FixtureBehaviour = Object.freeze({ kind: "answer" });
const KEEP_ALIVE_EVERY_MS = 10;

/**
 * Serves OpenAI's chat completions, responses and embeddings, Anthropic's messages and Gemini's content, whole and streamed, on
 * a free port of loopback. Gemini's streams are those of `alt=sse`.
 *
 * @param script @default one healthy answer after the other
 * @example
 * const provider = await createFixtureProvider([providerReplies.openai.rateLimited, { kind: "answer", text: ["well again"] }]);
 * const client = new OpenAI({ baseURL: provider.baseURL, apiKey: "none" });
 * await provider.close();
 */
export async function createFixtureProvider(script: FixtureScript = [HEALTHY]): Promise<FixtureProvider> {
  let decide = typeof script === "function" ? script : inOrder(script);
  const requests: FixtureRequest[] = [];
  const server = createServer((request, response) => void serve(request, response));
  const port = await listen(server, 0);
  const origin = `http://127.0.0.1:${port}`;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let hungUp = false;
    response.on("close", () => {
      hungUp = !response.writableFinished;
    });
    const seen: FixtureRequest = {
      method: request.method ?? "GET",
      path: new URL(request.url ?? "/", origin).pathname,
      headers: request.headers,
      body: await bodyOf(request),
      get hungUp() {
        return hungUp;
      },
    };
    requests.push(seen);
    await behave(decide(seen), seen, response, `fixture_${requests.length}`);
  }

  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  };

  return Object.freeze({
    baseURL: `${origin}/v1`,
    origin,
    requests,
    behaves(...behaviours: readonly FixtureBehaviour[]) {
      decide = inOrder(behaviours);
    },
    decides(next: (request: FixtureRequest) => FixtureBehaviour) {
      decide = next;
    },
    die: close,
    async revive() {
      if (!server.listening) await listen(server, port);
    },
    close,
  });
}

async function behave(
  behaviour: FixtureBehaviour,
  { path, body }: FixtureRequest,
  response: ServerResponse,
  id: string,
): Promise<void> {
  switch (behaviour.kind) {
    case "answer": {
      await wait(behaviour.delayMs);
      const answer = answerTo(path, body, { ...behaviour, id });
      if (answer === undefined) {
        send(
          response,
          404,
          {},
          { error: { message: `there is no ${path}`, type: "invalid_request_error", code: null } },
        );
      } else if (readProperty(body, "stream") === true || path.endsWith(":streamGenerateContent")) {
        await stream(response, answer.events);
        response.end();
      } else {
        send(response, 200, { "x-request-id": id }, answer.json);
      }
      return;
    }
    case "reply":
      await wait(behaviour.delayMs);
      send(response, behaviour.status, behaviour.headers ?? {}, behaviour.body);
      return;
    case "stream": {
      const { after, end, error } = behaviour;
      const events = answerTo(path, body, { ...behaviour, id })?.events ?? [];
      await stream(response, events.slice(0, after));
      await endStream(response, end, error);
      return;
    }
    case "events":
      await stream(response, behaviour.events);
      response.end();
      return;
    case "hang":
      return;
    case "cut": {
      const text = JSON.stringify(answerTo(path, body, { id })?.json ?? {});
      response.writeHead(200, { "content-type": "application/json", "content-length": text.length });
      response.write(text.slice(0, text.length / 2), () => response.destroy());
      return;
    }
    case "reset":
      response.destroy();
      return;
  }
}

/** Each event is on its way before the next: a client sees them one by one. */
async function stream(response: ServerResponse, events: readonly string[]): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  response.flushHeaders();
  for (const one of events) await written(response, one);
}

async function endStream(
  response: ServerResponse,
  end: Extract<FixtureBehaviour, { kind: "stream" }>["end"],
  error: unknown,
): Promise<void> {
  switch (end) {
    case "closed":
      response.end();
      return;
    case "cut":
      response.destroy();
      return;
    case "stalled":
      return;
    case "keep_alive":
      while (!response.destroyed) {
        await written(response, ": keep-alive\n\n");
        await wait(KEEP_ALIVE_EVERY_MS);
      }
      return;
    case "malformed":
      await written(response, event('{"choices": [{"delta": {"content": "unfin'));
      response.end();
      return;
    case "error":
      await written(response, event(error ?? OVERLOADED, "error"));
      response.end();
      return;
  }
}

const OVERLOADED = { error: { type: "overloaded_error", code: "server_is_overloaded", message: "Overloaded" } };

function send(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: unknown,
): void {
  if (response.destroyed) return;
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}

function written(response: ServerResponse, text: string): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed) resolve();
    else response.write(text, () => resolve());
  });
}

async function wait(delayMs: number | undefined): Promise<void> {
  if (delayMs !== undefined && delayMs > 0) await delay(systemClock, delayMs);
}

function inOrder(script: readonly FixtureBehaviour[]): () => FixtureBehaviour {
  let next = 0;
  return () => {
    const behaviour = script[Math.min(next, script.length - 1)] ?? HEALTHY;
    next += 1;
    return behaviour;
  };
}

async function bodyOf(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  let text = "";
  request.setEncoding("utf8");
  try {
    for await (const chunk of request) text += String(chunk);
    const parsed: unknown = JSON.parse(text);
    return isJsonObject(parsed) ? parsed : {};
  } catch {
    // No JSON, or a client that hung up while it sent.
    return {};
  }
}

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}
