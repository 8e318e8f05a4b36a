/** Server-sent events as they pass through: their bytes unchanged, and what they say. */

export interface SseEvent {
  /** The whole event as it was sent, its blank line included. */
  readonly raw: string;
  /** Its `event` field. */
  readonly name: string | undefined;
  /** Its `data` lines, joined. */
  readonly data: string;
  /** The connection ended within it. */
  readonly isTorn: boolean;
}

const BLANK_LINE = /\r\n\r\n|\n\n|\r\r/;
/** A blank line may lie across two reads. */
const OVERLAP = 3;

/**
 * Comments alone (`: keep-alive`) are no events and are left out.
 *
 * @example for await (const { data } of sseEvents(response.body)) …
 */
export async function* sseEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<SseEvent, void> {
  const decoder = new TextDecoder();
  /** Of an event that has begun, what holds no blank line: looked at once, however small the pieces are. */
  let begun: string[] = [];
  let text = "";
  for await (const bytes of body) {
    text += decoder.decode(bytes, { stream: true });
    for (;;) {
      const found = BLANK_LINE.exec(text);
      if (found === null) break;
      const end = found.index + found[0].length;
      const event = eventOf(begun.join("") + text.slice(0, end), false);
      text = text.slice(end);
      begun = [];
      if (event !== undefined) yield event;
    }
    if (text.length <= OVERLAP) continue;
    begun.push(text.slice(0, -OVERLAP));
    text = text.slice(-OVERLAP);
  }
  const event = eventOf(begun.join("") + text + decoder.decode(), true);
  if (event !== undefined) yield event;
}

function eventOf(raw: string, isTorn: boolean): SseEvent | undefined {
  let name: string | undefined;
  const data: string[] = [];
  for (const line of raw.split(/\r\n|\n|\r/)) {
    const [, field, value = ""] = /^([^:]+)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return name === undefined && data.length === 0 ? undefined : { raw, name, data: data.join("\n"), isTorn };
}
