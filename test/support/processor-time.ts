/** What work costs, whoever else uses the machine meanwhile: a process that waits for its turn spends nothing. */

/** Milliseconds of processor that this process spent while `work` ran. */
export function processorMsOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}
