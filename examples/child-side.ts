/** What a process of the examples says to the one that started it, and what it does when that one is gone. */

/** Ends this process when the one that started it ends, however that happens. Does nothing when started by hand. */
export function endWithParent(): void {
  process.on("disconnect", () => process.exit(1));
}

/** Tells the parent, or the terminal when there is none, that this process is ready and where it listens. */
export function announceReady(ready: object): void {
  if (process.send) process.send({ ready });
  else console.log(JSON.stringify(ready, undefined, 2));
}
