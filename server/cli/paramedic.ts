#!/usr/bin/env node
/** The command line: `paramedic start` runs the standalone backend, `paramedic migrate` brings the schema up to date. */
import { ParamedicError } from "../../shared/errors.js";
import { readBackendEnvironment } from "../env.js";
import { startBackend } from "../main.js";
import { storeTargetOf } from "../options.js";
import { migrateStore } from "../store-target.js";

/** sysexits(3): the configuration is wrong; a supervisor should not restart what cannot start. */
const EXIT_CONFIGURATION = 78;

const USAGE = `paramedic start     runs the standalone backend (HOST, PORT, PARAMEDIC_DATABASE_URL, …: see .env.example)
paramedic migrate   brings the database's schema up to date`;

async function main(command: string | undefined): Promise<number> {
  switch (command) {
    case "start": {
      const { url } = await startBackend();
      process.stdout.write(`paramedic listens on ${url} (probes: /livez /readyz /health; API: /trpc)\n`);
      return 0;
    }
    case "migrate": {
      const { database, applied } = await migrateStore(storeTargetOf(readBackendEnvironment().databaseUrl));
      process.stdout.write(`${database}: ${applied === 0 ? "up to date" : `${applied} migration(s) applied`}\n`);
      return 0;
    }
    case "help":
    case "--help":
    case undefined:
      process.stdout.write(`${USAGE}\n`);
      return command === undefined ? EXIT_CONFIGURATION : 0;
    default:
      process.stderr.write(`paramedic: no command ${JSON.stringify(command)}\n${USAGE}\n`);
      return EXIT_CONFIGURATION;
  }
}

main(process.argv[2]).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    if (!(error instanceof ParamedicError)) throw error;
    process.stderr.write(`paramedic: ${error.message}\n`);
    process.exitCode = error.code === "CONFIGURATION_INVALID" ? EXIT_CONFIGURATION : 1;
  },
);
