/**
 * The main thread's end of a thread of the store: one command at a time, in order, each settles. A thread that crashed or
 * hangs is replaced by the next command; the command it had may or may not be done, which a write's ids make harmless. While
 * nothing is asked of it, the thread does not keep the process alive.
 */
import { ParamedicError } from "../../../shared/errors.js";
import type { Clock, Timer } from "../../ports/clock.js";
import { asParamedicError, errorOf, type ThreadReply, type ThreadRequest } from "./thread-protocol.js";

export interface ThreadClientOptions {
  /** The database. */
  readonly path: string;
  /** What is asked of the thread, for messages. */
  readonly work: "write" | "read";
  /** How long a command may wait for its turn, and then how long it may run. */
  readonly requestTimeoutMs: number;
  readonly openTimeoutMs: number;
  /** Commands that may wait; one more is refused at once. */
  readonly maxWaiting: number;
}

export interface ThreadClientDeps {
  readonly clock: Clock;
  readonly onFault: (error: unknown) => void;
  readonly spawn: () => StoreThread;
}

/** What is used of a thread. */
export interface StoreThread {
  on(event: "message", listener: (reply: ThreadReply) => void): unknown;
  on(event: "error", listener: (error: unknown) => void): unknown;
  on(event: "exit", listener: () => void): unknown;
  removeAllListeners(event: "message"): unknown;
  postMessage(request: ThreadRequest<string>): void;
  ref(): void;
  unref(): void;
  terminate(): Promise<unknown>;
}

/** Functions that arguments and results of can be copied between threads. */
export type Commands<C> = { readonly [Name in keyof C]: (...args: never[]) => unknown };

export interface ThreadClient<C extends Commands<C>> {
  call<Name extends keyof C & string>(command: Name, ...args: Parameters<C[Name]>): Promise<ReturnType<C[Name]>>;
  open(): Promise<void>;
  /** Lets what waits be done, then ends the thread. */
  close(): Promise<void>;
}

interface Pending {
  readonly request: ThreadRequest<string>;
  readonly runTimeoutMs: number;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: ParamedicError) => void;
  timer: Timer | undefined;
}

/**
 * @example
 * const writer = createThreadClient<WriteCommands>({ clock, onFault, spawn }, { path, work: "write", … });
 * await writer.call("commitBatch", batch, clock.now());
 */
export function createThreadClient<C extends Commands<C>>(
  deps: ThreadClientDeps,
  options: ThreadClientOptions,
): ThreadClient<C> {
  const { clock, onFault, spawn } = deps;
  const { work } = options;
  const threadName = THREAD_NAMES[work];
  const waiting: Pending[] = [];
  let running: Pending | undefined;
  let worker: StoreThread | undefined;
  let lastId = 0;

  const unavailable = (what: string, cause?: unknown) =>
    new ParamedicError("STORE_UNAVAILABLE", `the database ${options.path}: ${what}`, { cause });

  const settle = (finish: (pending: Pending) => void) => {
    const settled = running;
    if (!settled) return;
    settled.timer?.cancel();
    running = undefined;
    worker?.unref();
    finish(settled);
    sendNext();
  };

  const lose = (lost: StoreThread, error: ParamedicError) => {
    if (worker !== lost) return;
    worker = undefined;
    lost.removeAllListeners("message");
    settle(({ reject }) => reject(error));
  };

  const start = (): StoreThread => {
    const started = spawn();
    started.unref();
    let crash: unknown;
    started.on("message", (reply: ThreadReply) => {
      if (reply.id !== running?.request.id) return;
      settle(({ resolve, reject }) => (reply.ok ? resolve(reply.result) : reject(errorOf(reply.error))));
    });
    started.on("error", (error) => {
      crash = error;
      onFault(error);
    });
    started.on("exit", () => {
      lose(started, unavailable(`its ${threadName} thread ended; the next ${work} starts a new one`, crash));
    });
    return started;
  };

  const sendNext = () => {
    const next = running ? undefined : waiting.shift();
    if (!next) return;
    running = next;
    next.timer?.cancel();
    try {
      worker ??= start();
      worker.postMessage(next.request);
    } catch (error) {
      settle(({ reject }) => reject(refusalOf(error)));
      return;
    }
    worker.ref();
    next.timer = clock.setTimer(() => {
      const stuck = worker;
      if (running !== next || !stuck) return;
      const error = unavailable(`no answer within ${next.runTimeoutMs} ms; its ${threadName} thread is replaced`);
      onFault(error);
      lose(stuck, error);
      void stuck.terminate();
    }, next.runTimeoutMs);
  };

  /** What cannot be copied to another thread can never be stored. */
  const refusalOf = (error: unknown): ParamedicError =>
    error instanceof DOMException && error.name === "DataCloneError"
      ? new ParamedicError(
          "STORE_REQUEST_INVALID",
          `the database ${options.path} cannot hold a value: ${error.message}`,
          {
            cause: error,
          },
        )
      : asParamedicError(error, `the database ${options.path}: its ${threadName} thread cannot be started`);

  const ask = (command: string, args: readonly unknown[], runTimeoutMs: number): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (waiting.length >= options.maxWaiting) {
        reject(unavailable(`${options.maxWaiting} ${work}s already wait for it`));
        return;
      }
      lastId += 1;
      const pending: Pending = {
        request: { id: lastId, command, args },
        runTimeoutMs,
        resolve,
        reject,
        timer: undefined,
      };
      pending.timer = clock.setTimer(() => {
        const place = waiting.indexOf(pending);
        if (place < 0) return;
        waiting.splice(place, 1);
        reject(unavailable(`a ${work} waited ${options.requestTimeoutMs} ms for its turn; it was not begun`));
      }, options.requestTimeoutMs);
      waiting.push(pending);
      sendNext();
    });

  return {
    call: (command, ...args) => ask(command, args, options.requestTimeoutMs).then(resultOf<C, typeof command>),
    open: async () => void (await ask("open", [], options.openTimeoutMs)),
    async close() {
      if (!worker && !running && waiting.length === 0) return;
      await ask("close", [], options.requestTimeoutMs).catch(onFault);
      await worker?.terminate();
    },
  };
}

const THREAD_NAMES = { write: "writer", read: "reader" } as const;

/** The thread answers a command with what that command returned: both ends share the type of the commands. */
function resultOf<C extends Commands<C>, Name extends keyof C & string>(result: unknown): ReturnType<C[Name]> {
  return result as ReturnType<C[Name]>;
}
