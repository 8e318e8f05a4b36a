/** Ways in which a stream breaks without anybody raising an error; told from each other by `how`, also in another copy of this package. */
import { STREAM_FAULT, type StreamFaultKind } from "../../../../shared/llm-errors.js";

export class StreamFault extends Error {
  override readonly name = STREAM_FAULT;
  readonly how: StreamFaultKind;

  constructor(how: StreamFaultKind, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.how = how;
  }
}
