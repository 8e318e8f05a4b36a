/** Reads an answer that is needed as a whole, as far as an answer goes: one that never ends must not fill the memory of everybody. */
import { MalformedResponseError } from "./malformed-response-error.js";

/** Longer than any completion with its pictures. */
export const MAX_ANSWER_BYTES = 64 * 2 ** 20;

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

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
