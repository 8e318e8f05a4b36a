/** The limits of cgroups, as each kind of system shows them, and of a real one where the machine lets us make it. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { cgroupCores, cgroupMemoryBytes, quotaOf } from "../../server/health/cgroup.js";
import { readCores } from "../../server/health/cpu-check.js";
import { readMemory, realLimitOf } from "../../server/health/memory-check.js";
import { makeLimitedCgroup } from "../support/limited-cgroup.js";

const MEGABYTE = 2 ** 20;
const LIMIT = 256 * MEGABYTE;

describe("the limits of cgroups", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "paramedic-cgroup-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const limitsOf = (cgroup: string, files: Readonly<Record<string, string>>) => {
    const all = { "proc/self/cgroup": cgroup, ...files };
    for (const [path, text] of Object.entries(all)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), `${text}\n`);
    }
    return { megabytes: (cgroupMemoryBytes(root) ?? Number.NaN) / MEGABYTE, cores: cgroupCores(root) };
  };
  const NONE = { megabytes: Number.NaN, cores: undefined };
  const V1_NO_LIMIT = "9223372036854771712";

  it("of version 2 are those of a container that shows itself as the root", () => {
    const files = { "memory.max": String(LIMIT), "memory.high": "max", "cpu.max": "150000 100000" };
    const shown = Object.fromEntries(Object.entries(files).map(([name, text]) => [`sys/fs/cgroup/${name}`, text]));
    expect(limitsOf("0::/", shown)).toEqual({ megabytes: 256, cores: 1.5 });
  });

  it("of version 2 are also those of a slice around a service, and where the kernel begins to slow it down", () => {
    const slice = "sys/fs/cgroup/apps.slice";
    const files = {
      [`${slice}/apps-web.slice/web.service/memory.max`]: "max",
      [`${slice}/apps-web.slice/web.service/memory.high`]: "max",
      [`${slice}/apps-web.slice/web.service/cpu.max`]: "200000 100000",
      [`${slice}/apps-web.slice/memory.max`]: String(4 * LIMIT),
      [`${slice}/apps-web.slice/memory.high`]: String(3 * LIMIT),
      [`${slice}/memory.max`]: String(2 * LIMIT),
      [`${slice}/cpu.max`]: "50000 100000",
    };
    const path = "0::/apps.slice/apps-web.slice/web.service";
    expect(limitsOf(path, files)).toEqual({ megabytes: 512, cores: 0.5 });
    expect(limitsOf(path, { [`${slice}/memory.high`]: String(LIMIT) })).toMatchObject({ megabytes: 256 });
  });

  it("of version 2 are found at a path with colons", () => {
    const path = "system.slice:cri-containerd:4f2a";
    expect(limitsOf(`0::/${path}`, { [`sys/fs/cgroup/${path}/memory.max`]: String(LIMIT) })).toMatchObject({
      megabytes: 256,
    });
  });

  it("of version 1 are those of a container that is told its path on the host", () => {
    const files = {
      "sys/fs/cgroup/memory/memory.limit_in_bytes": String(LIMIT),
      "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
      "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    };
    expect(limitsOf("9:memory:/docker/4f2a\n3:cpu,cpuacct:/docker/4f2a\n0::/", files)).toEqual({
      megabytes: 256,
      cores: 1.5,
    });
  });

  it("of version 1 are also those of the cgroups around it, beside an empty version 2", () => {
    const files = {
      "sys/fs/cgroup/unified/cgroup.controllers": "",
      "sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes": V1_NO_LIMIT,
      "sys/fs/cgroup/memory/outer/memory.limit_in_bytes": String(LIMIT),
      "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NO_LIMIT,
      "sys/fs/cgroup/cpu/outer/inner/cpu.cfs_quota_us": "-1",
      "sys/fs/cgroup/cpu/outer/inner/cpu.cfs_period_us": "100000",
      "sys/fs/cgroup/cpu/outer/cpu.cfs_quota_us": "50000",
      "sys/fs/cgroup/cpu/outer/cpu.cfs_period_us": "100000",
    };
    const cgroup = "9:name=systemd:/\n4:memory:/outer/inner\n2:cpuacct:/\n1:cpu:/outer/inner\n0::/";
    expect(limitsOf(cgroup, files)).toEqual({ megabytes: 256, cores: 0.5 });
  });

  it("are none where no cgroup has one, and where there are no cgroups", () => {
    expect(limitsOf("", {})).toEqual(NONE);
    expect(limitsOf("0::/init.scope", { "sys/fs/cgroup/init.scope/memory.max": "max" })).toEqual(NONE);
    rmSync(join(root, "proc"), { recursive: true });
    expect([cgroupMemoryBytes(root), cgroupCores(root)]).toEqual([undefined, undefined]);
    expect(realLimitOf(Number(V1_NO_LIMIT), totalmem())).toBeUndefined();
  });

  it("are quotas in every spelling", () => {
    expect(quotaOf("150000 100000")).toBe(1.5);
    for (const none of ["max 100000", "-1 100000", "", " "]) expect(quotaOf(none)).toBeUndefined();
    expect(readCores()).toBeGreaterThan(0);
    expect(readCores()).toBeLessThanOrEqual(availableParallelism());
  });
});

const cgroup = makeLimitedCgroup(LIMIT);

if ("refused" in cgroup) {
  describe(`a machine on which no cgroup can be made (${cgroup.refused})`, () => {
    it("gives the process the limit that Node sees, or a lower one around it, or all its memory", () => {
      const ofNode = realLimitOf(process.constrainedMemory(), totalmem()) ?? totalmem();
      const { containerLimitBytes } = readMemory();
      expect(containerLimitBytes ?? totalmem()).toBeLessThanOrEqual(ofNode);
      expect(containerLimitBytes ?? totalmem()).toBeGreaterThan(process.memoryUsage.rss() / 2);
    });
  });
} else {
  describe("a process in a real cgroup of 256 MB", () => {
    afterAll(() => cgroup.remove());

    it.each(["itself", "below"] as const)(
      "knows its limit and when it is near, in the cgroup %s",
      (where) => {
        const script = fileURLToPath(new URL("limited-memory.child.ts", import.meta.url));
        const node = [process.execPath, "--import", import.meta.resolve("tsx"), script];
        const [command = "", ...args] = cgroup.run(where, node);
        const { stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
        expect(stderr).toBe("");
        const [before, after] = stdout
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line));
        expect(before).toEqual({ limit: LIMIT, status: "healthy" });
        expect(after).toMatchObject({ limit: LIMIT, status: "degraded" });
        expect(after.message).toMatch(/^8\d\.\d % of the container's memory is used$/);
      },
      60_000,
    );
  });
}
