/** Says what it may use and how it judges itself, before and after it fills most of its memory outside the heap. */
import { judgeMemory, readMemory } from "../../server/health/memory-check.js";

const say = () => {
  const reading = readMemory();
  const { status, message } = judgeMemory(reading);
  process.stdout.write(`${JSON.stringify({ limit: reading.containerLimitBytes, status, message })}\n`);
};

say();
const kept: Buffer[] = [];
const enough = 0.8 * (readMemory().containerLimitBytes ?? 0);
while (process.memoryUsage.rss() < enough) kept.push(Buffer.alloc(1 << 20, kept.length));
say();
