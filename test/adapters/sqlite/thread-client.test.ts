import { EventEmitter } from "node:events";
import { beforeEach, describe, expect, it } from "vitest";
import type { WriteCommands } from "../../../server/adapters/sqlite/sqlite-writer.js";
import {
  createThreadClient,
  type StoreThread,
  type ThreadClient,
} from "../../../server/adapters/sqlite/thread-client.js";
import type { ThreadReply, ThreadRequest } from "../../../server/adapters/sqlite/thread-protocol.js";
import { createFakeClock, type FakeClock, settle } from "../../support/fake-clock.js";

/** A thread that answers when it is told to. */
class FakeThread extends EventEmitter implements StoreThread {
  readonly requests: ThreadRequest<string>[] = [];
  keepsAlive = true;
  terminated = false;

  postMessage(request: ThreadRequest<string>) {
    this.requests.push(structuredClone(request));
  }
  ref() {
    this.keepsAlive = true;
  }
  unref() {
    this.keepsAlive = false;
  }
  async terminate() {
    this.terminated = true;
    return 1;
  }
  answer(reply: Omit<Extract<ThreadReply, { ok: true }>, "id" | "ok"> = { result: undefined }) {
    this.emit("message", { id: this.requests.at(-1)?.id, ok: true, ...reply });
  }
}

const options = {
  path: "/data/paramedic.db",
  work: "write" as const,
  requestTimeoutMs: 500,
  openTimeoutMs: 2_000,
  maxWaiting: 3,
};

describe("the writer's client", () => {
  let clock: FakeClock;
  let threads: FakeThread[];
  let faults: unknown[];
  let client: ThreadClient<WriteCommands>;

  beforeEach(() => {
    clock = createFakeClock();
    threads = [];
    faults = [];
    const spawn = () => {
      const thread = new FakeThread();
      threads.push(thread);
      return thread;
    };
    client = createThreadClient<WriteCommands>({ clock, onFault: (error) => faults.push(error), spawn }, options);
  });

  const thread = (index = 0): FakeThread => threads[index] ?? expect.fail(`thread ${index} was not started`);

  it("starts no thread before it is needed", () => {
    expect(threads).toEqual([]);
  });

  it("sends one command at a time, in order", async () => {
    const first = client.call("abandonExpired", 1);
    const second = client.call("abandonExpired", 2);
    expect(thread().requests).toMatchObject([{ command: "abandonExpired", args: [1] }]);
    thread().answer({ result: 10 });
    expect(await first).toBe(10);
    expect(thread().requests).toMatchObject([{ args: [1] }, { args: [2] }]);
    thread().answer({ result: 20 });
    expect(await second).toBe(20);
    expect(threads).toHaveLength(1);
  });

  it("keeps the process alive only while something is asked of the thread", async () => {
    const call = client.call("ping");
    expect(thread().keepsAlive).toBe(true);
    thread().answer();
    await call;
    expect(thread().keepsAlive).toBe(false);
  });

  it("rejects with the thread's error, its code and its cause", async () => {
    const call = client.call("ping");
    thread().emit("message", {
      id: thread().requests[0]?.id,
      ok: false,
      error: { code: "STORE_CORRUPT", message: "damaged", cause: { code: "SQLITE_CORRUPT", message: "malformed" } },
    });
    await expect(call).rejects.toMatchObject({
      code: "STORE_CORRUPT",
      message: "damaged",
      cause: { code: "SQLITE_CORRUPT", message: "malformed" },
    });
  });

  it("rejects what a crashed thread had, tells of the crash, and gives the rest to a new thread", async () => {
    const lost = client.call("ping");
    const next = client.call("abandonExpired", 1);
    thread().emit("error", new Error("out of memory"));
    thread().emit("exit", 1);
    await expect(lost).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", cause: { message: "out of memory" } });
    expect(faults).toHaveLength(1);
    thread(1).answer({ result: 3 });
    expect(await next).toBe(3);
  });

  it("replaces a thread that died while nothing was asked of it", async () => {
    const first = client.call("ping");
    thread().answer();
    await first;
    thread().emit("exit", 1);
    const second = client.call("ping");
    thread(1).answer();
    await second;
  });

  it("replaces a thread that does not answer in time, and hears no late answer", async () => {
    const stuck = client.call("ping");
    const next = client.call("abandonExpired", 1);
    const rejected = expect(stuck).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await clock.advance(499);
    expect(threads).toHaveLength(1);
    await clock.advance(1);
    await rejected;
    expect(thread().terminated).toBe(true);
    thread().emit("message", { id: thread().requests[0]?.id, ok: true, result: "late" });
    thread().emit("exit", 1);
    thread(1).answer({ result: 4 });
    expect(await next).toBe(4);
    expect(faults).toHaveLength(1);
  });

  it("gives up a command that waited too long for its turn, without ever beginning it", async () => {
    const opening = client.open();
    const waiting = client.call("ping");
    const rejected = expect(waiting).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await clock.advance(500);
    await rejected;
    thread().answer();
    await opening;
    expect(thread().requests.map(({ command }) => command)).toEqual(["open"]);
  });

  it("gives opening more time than a command: others may be migrating", async () => {
    const opening = client.open();
    const rejected = expect(opening).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await clock.advance(1_999);
    expect(thread().terminated).toBe(false);
    await clock.advance(1);
    await rejected;
    expect(thread().terminated).toBe(true);
  });

  it("refuses at once what exceeds the queue", async () => {
    const calls = [1, 2, 3, 4].map((now) => client.call("abandonExpired", now));
    await expect(client.call("ping")).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    for (const call of calls) {
      thread().answer({ result: 0 });
      await call;
    }
  });

  it("refuses what cannot be copied to a thread, and goes on", async () => {
    const detail = { list: [] };
    Object.assign(detail, { callback: () => undefined });
    const entry = { at: 1, actor: "a", action: "x", subject: "y", reason: "z", outcome: "failed", detail } as const;
    await expect(client.call("recordAudit", entry)).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
    const next = client.call("ping");
    thread().answer();
    await next;
  });

  it("rejects when no thread can be started", async () => {
    const failing = createThreadClient<WriteCommands>(
      {
        clock,
        onFault: () => undefined,
        spawn: () => {
          throw new Error("no more threads");
        },
      },
      options,
    );
    await expect(failing.call("ping")).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      cause: { message: "no more threads" },
    });
  });

  it("closes after what waits is done, and leaves no timer", async () => {
    const call = client.call("ping");
    const closing = client.close();
    expect(thread().requests.map(({ command }) => command)).toEqual(["ping"]);
    thread().answer();
    await call;
    expect(thread().requests.map(({ command }) => command)).toEqual(["ping", "close"]);
    thread().answer();
    await closing;
    await settle();
    expect(clock.pendingTimers).toBe(0);
  });

  it("closes a client that never began anything", async () => {
    await client.close();
    expect(threads).toEqual([]);
  });
});
