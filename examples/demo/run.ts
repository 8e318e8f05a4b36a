/**
 * `npm run demo`: plays one story twice, with Paramedic and without, and reports from the rows that both runs left behind.
 * Exits 1 when the report's checks do not hold.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { ProvidersReady } from "../providers/main.js";
import { startChild, stopChildren } from "./child.js";
import { type DemoOptions, readOptions, USAGE } from "./options.js";
import { planCalls } from "./planned-calls.js";
import { type ClinicOptions, play, startClinic } from "./play.js";
import { createProgress } from "./progress.js";
import { readReport } from "./report.js";
import { reportText } from "./report-text.js";
import { atSpeed, readSchedule } from "./schedule.js";
import { expireStream, newStreamKey } from "./stream.js";
import { openUserCalls, RUNS, type Run } from "./user-calls.js";

let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (interrupted) process.exit(130);
    interrupted = true;
    void stopChildren().then(() => process.exit(130));
  });
}
await demo(optionsOf(process.argv.slice(2))).catch((error: unknown) => {
  // A story whose processes are being stopped breaks off; the handler above ends it.
  if (!interrupted) throw error;
});

async function demo({ speed, once, schedule: story, folder: kept }: DemoOptions): Promise<void> {
  const schedule = atSpeed(readSchedule(story), speed);
  const plan = planCalls(schedule);
  const folder = newFolder(kept);
  const paramedicDatabase = join(folder, "paramedic.db");
  const redisUrl = process.env.PARAMEDIC_REDIS_URL ?? process.env.REDIS_URL;
  const streamKey = newStreamKey();
  const rows = openUserCalls(join(folder, "user-calls.db"));
  const providers = await startChild<ProvidersReady>({ script: "providers/main.ts" });

  const clinicOf = (run: Run): ClinicOptions => ({
    run,
    schedule,
    providers,
    database: join(folder, `clinic-${run}.db`),
    logFile: join(folder, `clinic-${run}.log`),
    env: { PARAMEDIC_DATABASE_URL: `file:${paramedicDatabase}`, METRICS_REDIS_STREAM_KEY: streamKey },
  });
  for (const run of RUNS) {
    const title = `${run} Paramedic`.padEnd(17);
    const progress = createProgress(title, plan.before.length + plan.story.length, process.stdout);
    await play({ ...clinicOf(run), plan, rows, onPhase: progress.phase, onEnded: progress.ended });
    progress.done();
    // Half a story has no report; the handler above ends it.
    if (interrupted) return;
  }

  const report = readReport({ rows, paramedicDatabase, speed, schedule, redis: redisUrl !== undefined });
  console.log(`\n${reportText(report)}\n`);
  process.exitCode = report.checks.every(({ holds }) => holds) ? 0 : 1;
  if (redisUrl !== undefined) console.log(`The stream: redis-cli -u "$REDIS_URL" XRANGE ${streamKey} - + COUNT 3\n`);
  if (kept !== undefined) console.log(`The rows: ${folder}\n`);

  if (!once) {
    const { url } = (await startClinic(clinicOf("with"))).ready;
    console.log(`The clinic is up again on the same database until Ctrl-C, its circuits as they were:
  health  ${url}/health
  tRPC    ${url}/trpc/ask?input=${encodeURIComponent('{"json":{"question":"What should I bring?"}}')}
  rows    ${folder}`);
    return;
  }
  await stopChildren();
  rows.$client.close();
  if (redisUrl !== undefined) await expireStream(redisUrl, streamKey);
  process.exit();
}

function optionsOf(args: readonly string[]): DemoOptions {
  try {
    return readOptions(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    process.exit(2);
  }
}

/** Rows of an earlier story would be counted into this one: a folder that is kept starts empty. */
function newFolder(kept: string | undefined): string {
  if (kept === undefined) {
    const folder = mkdtempSync(join(tmpdir(), "paramedic-demo-"));
    process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }
  const folder = resolve(kept);
  if (existsSync(join(folder, "user-calls.db"))) {
    console.error(`--folder: ${folder} holds the rows of an earlier story; name a new folder`);
    process.exit(2);
  }
  mkdirSync(folder, { recursive: true });
  return folder;
}
