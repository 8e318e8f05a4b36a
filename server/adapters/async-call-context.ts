/** Carries the current call through everything it awaits, on Node's AsyncLocalStorage. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { CallContext, CallInfo } from "../ports/call-context.js";

/**
 * Off until `enable()`: only the first real `run` switches on the async hooks that make every await of the process slower.
 *
 * @example
 * const callContext = createAsyncCallContext();
 * callContext.enable();
 * callContext.run(call, () => callContext.current() === call); // true
 */
export function createAsyncCallContext(): CallContext {
  let storage: AsyncLocalStorage<CallInfo> | undefined;
  return Object.freeze({
    current: () => storage?.getStore(),
    run: <T>(call: CallInfo, fn: () => T): T => (storage === undefined ? fn() : storage.run(call, fn)),
    enable() {
      storage ??= new AsyncLocalStorage();
    },
    get enabled() {
      return storage !== undefined;
    },
  });
}
