/**
 * A process of a fleet: calls a service through a circuit that it shares with others, without pause, until it is killed. Prints
 * `ready`, and where the circuit is whenever that changes.
 */
import { connect } from "node:net";
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { createRedisControlChannel } from "../../server/adapters/redis-control-channel.js";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { createCircuitPersistence } from "../../server/circuit/circuit-persistence.js";
import { storeTargetOf } from "../../server/options.js";
import { silentLogger } from "../../server/ports/logger.js";
import { systemRandom } from "../../server/ports/random.js";
import { createStore } from "../../server/store-target.js";
import { createShiftedClock } from "../support/shifted-clock.js";

export interface FleetChildTask {
  readonly name: string;
  readonly servicePort: number;
  /** How far its clock is off. */
  readonly skewMs: number;
  readonly redisUrl?: string | undefined;
  readonly controlChannel?: string | undefined;
  readonly syncIntervalMs: number;
  readonly resetTimeoutMs: number;
}

const PAUSE_MS = 10;
const MOST_CALLS = 3;

const [, , taskText = "", database = ""] = process.argv;
const task: FleetChildTask = JSON.parse(taskText);
const { name, servicePort, syncIntervalMs, resetTimeoutMs } = task;

const onFault = (error: unknown) => console.error(name, error);
const clock = createShiftedClock();
clock.shift(task.skewMs);
const store = createStore({ clock, logger: silentLogger, onFault }, storeTargetOf(database));
const channel =
  task.redisUrl === undefined
    ? createLocalControlChannel({ onFault })
    : createRedisControlChannel(
        { redis: connectRedis(task.redisUrl, { clock, random: systemRandom, onFault }), onFault },
        { channel: task.controlChannel ?? "", sender: name },
      );
const registry = new CircuitBreakerRegistry({ clock, instance: name, onFault });
const persistence = createCircuitPersistence(
  { registry, store, channel, clock, journal: { append() {} }, logger: silentLogger, instance: name, onFault },
  { syncIntervalMs, flushIntervalMs: 200, restoreWaitMs: 10_000 },
);
registry.subscribe({ moved: (breaker) => console.log(breaker.state) });
const circuit = registry.getOrCreate("svc", {
  failureThreshold: 2,
  successThreshold: 2,
  halfOpenCalls: 3,
  halfOpenPermits: 2,
  resetTimeoutMs,
});
await store.open();
persistence.start();
await persistence.restored;
console.log("ready");
console.log(circuit.state);

let calls = 0;
setInterval(() => {
  if (calls >= MOST_CALLS) return;
  const permit = circuit.tryAcquire();
  if (permit === undefined) return;
  calls += 1;
  const socket = connect(servicePort, "127.0.0.1", () => socket.write(`${name}\n`));
  let answer = "";
  socket.on("data", (data) => {
    answer += data.toString();
  });
  socket.on("error", () => undefined);
  socket.on("close", () => {
    calls -= 1;
    if (answer === "ok") permit.success();
    else permit.failure();
  });
}, PAUSE_MS);
