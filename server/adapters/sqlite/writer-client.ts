/**
 * The main thread's end of the writer: one command at a time, in order, each settles. A thread that crashed or hangs is
 * replaced by the next command; the command it had may or may not be done, which its ids make harmless. While nothing is
 * asked of it, the thread does not keep the process alive.
 */
import { ParamedicError } from "../../../shared/errors.js";
import type { Clock, Timer } from "../../ports/clock.js";
import { spawnWriter } from "./spawn-writer.js";
import type { WriteCommands } from "./sqlite-writer.js";
import {
  asParamedicError,
  type CommandName,
  errorOf,
  type WriterOptions,
  type WriterReply,
  type WriterRequest,
} from "./writer-protocol.js";

export interface WriterClientOptions extends WriterOptions {
  /** How long a command may wait for its turn, and then how long it may run. */
  readonly requestTimeoutMs: number;
  readonly openTimeoutMs: number;
  /** Commands that may wait; one more is refused at once. */
  readonly maxWaiting: number;
}

export interface WriterClientDeps {
  readonly clock: Clock;
  readonly onFault: (error: unknown) => void;
  /** @default the real thread */
  readonly spawn?: ((options: WriterOptions) => WriterThread) | undefined;
}

/** What is used of a thread. */
export interface WriterThread {
  on(event: "message", listener: (reply: WriterReply) => void): unknown;
  on(event: "error", listener: (error: unknown) => void): unknown;
  on(event: "exit", listener: () => void): unknown;
  removeAllListeners(event: "message"): unknown;
  postMessage(request: WriterRequest): void;
  ref(): void;
  unref(): void;
  terminate(): Promise<unknown>;
}

export interface WriterClient {
  call<Name extends CommandName>(
    command: Name,
    ...args: Parameters<WriteCommands[Name]>
  ): Promise<ReturnType<WriteCommands[Name]>>;
  open(): Promise<void>;
  /** Lets what waits be done, then ends the thread. */
  close(): Promise<void>;
}

interface Pending {
  readonly request: WriterRequest;
  readonly runTimeoutMs: number;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: ParamedicError) => void;
  timer: Timer | undefined;
}

export function createWriterClient(deps: WriterClientDeps, options: WriterClientOptions): WriterClient {
  const { clock, onFault } = deps;
  const spawn = deps.spawn ?? spawnWriter;
  const waiting: Pending[] = [];
  let running: Pending | undefined;
  let worker: WriterThread | undefined;
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

  const lose = (lost: WriterThread, error: ParamedicError) => {
    if (worker !== lost) return;
    worker = undefined;
    lost.removeAllListeners("message");
    settle(({ reject }) => reject(error));
  };

  const start = (): WriterThread => {
    const started = spawn(options);
    started.unref();
    let crash: unknown;
    started.on("message", (reply: WriterReply) => {
      if (reply.id !== running?.request.id) return;
      settle(({ resolve, reject }) => (reply.ok ? resolve(reply.result) : reject(errorOf(reply.error))));
    });
    started.on("error", (error) => {
      crash = error;
      onFault(error);
    });
    started.on("exit", () => {
      lose(started, unavailable("its writer thread ended; the next write starts a new one", crash));
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
      const error = unavailable(`no answer within ${next.runTimeoutMs} ms; its writer thread is replaced`);
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
      : asParamedicError(error, `the database ${options.path}: its writer thread cannot be started`);

  const ask = (command: WriterRequest["command"], args: readonly unknown[], runTimeoutMs: number): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (waiting.length >= options.maxWaiting) {
        reject(unavailable(`${options.maxWaiting} writes already wait for it`));
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
        reject(unavailable(`a write waited ${options.requestTimeoutMs} ms for its turn; it was not begun`));
      }, options.requestTimeoutMs);
      waiting.push(pending);
      sendNext();
    });

  return {
    call: (command, ...args) => ask(command, args, options.requestTimeoutMs).then(resultOf<typeof command>),
    open: async () => void (await ask("open", [], options.openTimeoutMs)),
    async close() {
      if (!worker && !running && waiting.length === 0) return;
      await ask("close", [], options.requestTimeoutMs).catch(onFault);
      await worker?.terminate();
    },
  };
}

/** The worker answers a command with what that command returned: both ends share `WriteCommands`. */
function resultOf<Name extends CommandName>(result: unknown): ReturnType<WriteCommands[Name]> {
  return result as ReturnType<WriteCommands[Name]>;
}
