/** What a guarded model ends with: the AI SDK must not ask again, because the guard has. */
import { readProperty } from "../../../shared/error-facts.js";

/**
 * The same error, or, where the AI SDK would retry it, one of its class that says `isRetryable: false`. The original is its
 * cause.
 *
 * @example throw finalModelError(error);
 */
export function finalModelError(error: unknown): unknown {
  if (readProperty(error, "isRetryable") !== true) return error;
  const ErrorClass = readProperty(error, "constructor");
  const read = (key: string) => readProperty(error, key);
  try {
    if (typeof ErrorClass === "function") {
      const made: unknown = Reflect.construct(ErrorClass, [
        {
          message: read("message"),
          url: read("url"),
          requestBodyValues: read("requestBodyValues"),
          statusCode: read("statusCode"),
          responseHeaders: read("responseHeaders"),
          responseBody: read("responseBody"),
          data: read("data"),
          cause: error,
          isRetryable: false,
        },
      ]);
      if (readProperty(made, "isRetryable") === false) return made;
    }
  } catch {
    // A class that is made otherwise: then a plain error, which the SDK does not retry either.
  }
  return new Error("every model failed", { cause: error });
}
