#!/usr/bin/env node
/** The command line: runs the standalone backend, moves the database's schema, tells what is in force, changes settings. */
import { describeError } from "../../shared/describe-error.js";
import { isParamedicError, ParamedicError } from "../../shared/errors.js";
import { readBackendEnvironment } from "../env.js";
import { originOf, startBackend } from "../main.js";
import { type StoreTarget, storeTargetOf } from "../options.js";
import { systemClock } from "../ports/clock.js";
import { silentLogger } from "../ports/logger.js";
import type { Store } from "../ports/store.js";
import { createStore, migrateStore, migrateStoreBack } from "../store-target.js";
import { askInstance, describeInstance, STATUS_USAGE } from "./instance-status.js";
import { changeStored, describeStored, parseChange, SETTINGS_USAGE } from "./settings-command.js";

/** sysexits(3): the configuration is wrong; a supervisor should not restart what cannot start. */
const EXIT_CONFIGURATION = 78;

const USAGE = `paramedic start     runs the standalone backend (HOST, PORT, PARAMEDIC_DATABASE_URL, …: see .env.example)
paramedic migrate   brings the database's schema up to date
paramedic migrate --to N   takes it back to version N, after a copy of the database
${STATUS_USAGE}
${SETTINGS_USAGE}`;

async function main(command: string | undefined, rest: readonly string[]): Promise<number> {
  switch (command) {
    case "start": {
      const { url } = await startBackend();
      process.stdout.write(`paramedic listens on ${url} (probes: /livez /readyz /health; API: /trpc)\n`);
      return 0;
    }
    case "migrate": {
      const target = storeTargetOf(readBackendEnvironment().databaseUrl);
      if (rest.length > 0) return goBack(target, rest);
      const { database, applied } = await migrateStore(target);
      process.stdout.write(`${database}: ${applied === 0 ? "up to date" : `${applied} migration(s) applied`}\n`);
      return 0;
    }
    case "status":
    case "settings": {
      const url = urlOf(rest);
      if (url === undefined) {
        process.stderr.write(`paramedic: ${command} takes --url and a URL, got ${rest.join(" ")}\n${USAGE}\n`);
        return EXIT_CONFIGURATION;
      }
      const stored = () => withStore(async (store) => describeStored(await store.loadSettings(), systemClock.now()));
      const inForce = async () => describeInstance(await askInstance({ url, token: tokenOf() }));
      return tellFirst(command === "status" ? [inForce, stored] : [stored, inForce]);
    }
    case "set": {
      const asked = parseChange(rest);
      if (!asked.ok) {
        process.stderr.write(`paramedic: ${asked.problem}\n${USAGE}\n`);
        return EXIT_CONFIGURATION;
      }
      process.stdout.write(`${await withStore((store) => changeStored({ store, clock: systemClock }, asked))}\n`);
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

/** What the first one says that can say anything, after why those before it could not. */
async function tellFirst(sources: readonly (() => Promise<string>)[]): Promise<number> {
  const silent: string[] = [];
  for (const source of sources) {
    try {
      const answer = await source();
      process.stdout.write([...silent, answer, ""].join("\n"));
      return 0;
    } catch (error) {
      if (isParamedicError(error, "CONFIGURATION_INVALID")) throw error;
      silent.push(describeError(error).message);
    }
  }
  process.stderr.write(`paramedic: nothing can answer: ${silent.join("; ")}\n`);
  return 1;
}

/** Where the router of the backend is that this environment starts; undefined when `--url` is misspelt. */
function urlOf(rest: readonly string[]): string | undefined {
  const [option, url, ...more] = rest;
  if (option !== undefined) return option === "--url" && url !== undefined && more.length === 0 ? url : undefined;
  const { host, port } = readBackendEnvironment();
  return `${originOf(host, port)}/trpc/paramedic`;
}

function tokenOf(): string | undefined {
  const { readToken, operatorToken } = readBackendEnvironment();
  return readToken ?? operatorToken;
}

async function withStore<T>(work: (store: Store) => Promise<T>): Promise<T> {
  const onFault = (error: unknown) => void process.stderr.write(`paramedic: ${describeError(error).message}\n`);
  const target = storeTargetOf(readBackendEnvironment().databaseUrl);
  const store = createStore({ clock: systemClock, logger: silentLogger, onFault }, target);
  try {
    await store.open();
    return await work(store);
  } finally {
    await store.close();
  }
}

async function goBack(target: StoreTarget, rest: readonly string[]): Promise<number> {
  const [option, version, ...more] = rest;
  if (option !== "--to" || version === undefined || !/^[0-9]{1,4}$/.test(version) || more.length > 0) {
    process.stderr.write(`paramedic: migrate takes --to and a number, got ${rest.join(" ")}\n${USAGE}\n`);
    return EXIT_CONFIGURATION;
  }
  const { database, undone, backup } = await migrateStoreBack(target, Number(version));
  process.stdout.write(
    `${database}: ${backup === undefined ? `at version ${version}` : `${undone} migration(s) undone; the copy is ${backup}`}\n`,
  );
  return 0;
}

main(process.argv[2], process.argv.slice(3)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    if (!(error instanceof ParamedicError)) throw error;
    process.stderr.write(`paramedic: ${error.message}\n`);
    process.exitCode = error.code === "CONFIGURATION_INVALID" ? EXIT_CONFIGURATION : 1;
  },
);
