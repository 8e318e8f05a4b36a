/** A request's own end: it ends when any of those who may end it does, and may be hung up on before. */

/**
 * @example
 * const request = linkedController([context.signal]);
 * const response = await fetch(url, { signal: request.signal });
 */
export function linkedController(signals: readonly (AbortSignal | undefined)[]): AbortController {
  const controller = new AbortController();
  for (const signal of signals) {
    const end = () => controller.abort(signal?.reason);
    if (signal?.aborted) end();
    // Whoever lives longer than the request keeps nothing of it.
    else signal?.addEventListener("abort", end, { once: true, signal: controller.signal });
  }
  return controller;
}
