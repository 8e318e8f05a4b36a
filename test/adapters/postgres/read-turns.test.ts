import { describe, expect, it } from "vitest";
import { createReadTurns } from "../../../server/adapters/postgres/read-turns.js";
import { settle } from "../../support/fake-clock.js";

/** A read that ends when it is told to. */
function readUntil() {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let began = false;
  return {
    read: async () => {
      began = true;
      await ended;
    },
    end: () => end(),
    began: () => began,
  };
}

describe("turns of long reads", () => {
  it("let so many run at once, and the others in order", async () => {
    const turns = createReadTurns({ atOnce: 2, mostWaiting: 10 });
    const reads = Array.from({ length: 4 }, readUntil);
    const all = reads.map(({ read }) => turns.run(read));
    await settle();
    expect(reads.map(({ began }) => began())).toEqual([true, true, false, false]);
    reads[1]?.end();
    await settle();
    expect(reads.map(({ began }) => began())).toEqual([true, true, true, false]);
    for (const { end } of reads) end();
    await Promise.all(all);
    expect(reads.every(({ began }) => began())).toBe(true);
  });

  it("refuse at once what would wait behind too many", async () => {
    const turns = createReadTurns({ atOnce: 1, mostWaiting: 1 });
    const [running, waiting] = [readUntil(), readUntil()];
    const all = [turns.run(running.read), turns.run(waiting.read)];
    await expect(turns.run(async () => "never")).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    running.end();
    waiting.end();
    await Promise.all(all);
    expect(await turns.run(async () => "now")).toBe("now");
  });

  it("come back after a read that failed", async () => {
    const turns = createReadTurns({ atOnce: 1, mostWaiting: 1 });
    await expect(turns.run(() => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
    expect(await turns.run(async () => "next")).toBe("next");
  });
});
