/**
 * `npm run demo`: plays the story of `schedule.json` twice, with Paramedic and without, and reports from the rows that both
 * runs left behind. Exits 1 when the report's checks do not hold.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { ClinicReady } from "../clinic/main.js";
import type { ProvidersReady } from "../providers/main.js";
import { type Child, startChild, stopChildren } from "./child.js";
import { type DemoOptions, readOptions, USAGE } from "./options.js";
import { waitUntilWritten } from "./paramedic-rows.js";
import { planCalls } from "./planned-calls.js";
import { play } from "./play.js";
import { createProgress } from "./progress.js";
import { readReport } from "./report.js";
import { reportText } from "./report-text.js";
import { atSpeed, SCHEDULE } from "./schedule.js";
import { expireStream, newStreamKey } from "./stream.js";
import { openUserCalls, type Run } from "./user-calls.js";

const options = (() => {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    process.exit(2);
  }
})();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void stopChildren().then(() => process.exit(130)));
}
/** Failures reach the rows within seconds; after this much quiet nothing more is to come. */
const QUIET_MS = 5_000;

await demo(options);

async function demo({ speed, once, folder: kept }: DemoOptions): Promise<void> {
  const folder = kept === undefined ? mkdtempSync(join(tmpdir(), "paramedic-demo-")) : resolve(kept);
  mkdirSync(folder, { recursive: true });
  if (kept === undefined) process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

  const schedule = atSpeed(SCHEDULE, speed);
  const plan = planCalls(schedule);
  const rows = openUserCalls(join(folder, "user-calls.db"));
  const paramedicDatabase = join(folder, "paramedic.db");
  const providers = await startChild<ProvidersReady>({ script: "providers/main.ts" });

  const playOnce = async (run: Run, env: Readonly<Record<string, string>>): Promise<Child<ClinicReady>> => {
    const progress = createProgress(
      `${run} Paramedic`.padEnd(17),
      plan.before.length + plan.story.length,
      process.stdout,
    );
    const clinic = await play({
      run,
      schedule,
      plan,
      providers,
      rows,
      env,
      database: join(folder, `clinic-${run}.db`),
      logFile: join(folder, `clinic-${run}.log`),
      onPhase: (phase) => progress.phase(phase?.name ?? "first calls"),
      onEnded: (call) => progress.ended(call),
    });
    progress.done();
    return clinic;
  };

  const redisUrl = process.env.PARAMEDIC_REDIS_URL ?? process.env.REDIS_URL;
  const streamKey = newStreamKey();
  const clinic = await playOnce("with", {
    PARAMEDIC_DATABASE_URL: `file:${paramedicDatabase}`,
    METRICS_REDIS_STREAM_KEY: streamKey,
  });
  await waitUntilWritten(paramedicDatabase, plan.before.length + plan.story.length, QUIET_MS / speed);
  const plain = await playOnce("without", {});
  await plain.stop();

  const report = readReport({ rows, paramedicDatabase, speed, seed: schedule.seed });
  console.log(`\n${reportText(report)}\n`);
  process.exitCode = report.checks.every(({ holds }) => holds) ? 0 : 1;

  if (redisUrl !== undefined) console.log(`The stream: redis-cli -u "$REDIS_URL" XRANGE ${streamKey} - + COUNT 3\n`);
  if (kept !== undefined) console.log(`The rows: ${folder}\n`);
  if (!once) {
    console.log(`The clinic stays up until Ctrl-C:
  health    ${clinic.ready.url}/health
  metrics   ${clinic.ready.url}/metrics
  tRPC      ${clinic.ready.url}/trpc
  rows      ${folder}`);
    return;
  }
  await stopChildren();
  rows.$client.close();
  if (redisUrl !== undefined) await expireStream(redisUrl, streamKey);
  process.exit();
}
