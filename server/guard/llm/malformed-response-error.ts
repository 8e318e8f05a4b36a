/** An answer that is no answer; known by its name across copies of the package. */
import { MALFORMED_RESPONSE } from "../../../shared/llm-errors.js";

/**
 * A provider's answer that cannot be used: no JSON, a completion without choices, longer than 64 MiB. Another try may help.
 *
 * @example if (error instanceof MalformedResponseError) console.warn(`${error.service} is out of order`);
 */
export class MalformedResponseError extends Error {
  override readonly name = MALFORMED_RESPONSE;
  /** The provider's, such as `llm:openai`. */
  readonly service: string;

  constructor(service: string, problem: string, options?: { readonly cause?: unknown }) {
    super(`${service} sent an answer that cannot be used: ${problem}`, options);
    this.service = service;
  }
}
