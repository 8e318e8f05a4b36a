/** Takes of an answer as much as an answer is: one that never ends must not fill the memory of everybody. */
import { MalformedResponseError } from "./malformed-response-error.js";
import { StreamFault } from "./stream/stream-fault.js";

/** Longer than any completion with its pictures. */
const MAX_ANSWER_BYTES = 64 * 2 ** 20;

/** @throws MalformedResponseError for a longer one, whose connection is ended then */
export async function bytesWithin(service: string, { body }: Response): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  if (body !== null) {
    for await (const chunk of body) {
      length += chunk.byteLength;
      if (length > MAX_ANSWER_BYTES) throw new MalformedResponseError(service, "it is longer than 64 MiB");
      chunks.push(chunk);
    }
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** The same stream of events, which fails with a `StreamFault` where one of them does not end: whoever reads it holds it whole. */
export function eventsWithin(service: string, body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  let length = 0;
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, passed) {
        const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
        // A blank line across two chunks is missed, and the next one is not.
        length = BLANK_LINES.some((line) => bytes.includes(line)) ? 0 : length + bytes.length;
        if (length > MAX_ANSWER_BYTES) throw tooLong(service);
        passed.enqueue(chunk);
      },
    }),
  );
}

function tooLong(service: string): StreamFault {
  return new StreamFault("malformed", `${service} sent an event that is longer than 64 MiB`);
}

const BLANK_LINES = ["\n\n", "\r\n\r\n", "\r\r"] as const;

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Undefined for what is no JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
