/** Starts a process as the demo does, says its id, and stays. */
import { startChild } from "../../examples/demo/child.js";

const child = await startChild({ script: "providers/main.ts" });
console.log(`pid ${child.pid}`);
setInterval(() => {}, 60_000);
