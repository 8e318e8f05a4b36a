/** The guarded services of one Paramedic by name: one object per name, made with the first policy that is given for it. */
import type { Logger } from "../ports/logger.js";
import { type GuardPolicy, type ResolvedGuardPolicy, resolveGuardPolicy } from "./guard-policy.js";
import { GuardedService, type GuardedServiceDeps } from "./guarded-service.js";

export interface GuardedServices {
  /** Made on first use. A different policy later is logged once and has no effect. */
  of(name: string, policy?: GuardPolicy): GuardedService;
  /** In the order in which they were made. */
  all(): readonly GuardedService[];
}

export function createGuardedServices(
  deps: GuardedServiceDeps & { readonly logger: Logger; readonly onFault: (error: unknown) => void },
  defaults: GuardPolicy,
): GuardedServices {
  const services = new Map<string, GuardedService>();
  const conflicts = new Set<string>();
  resolveGuardPolicy("*", defaults);

  const reportConflict = ({ name, policy }: GuardedService, other: ResolvedGuardPolicy): void => {
    if (conflicts.has(name) || JSON.stringify(policy) === JSON.stringify(other)) return;
    conflicts.add(name);
    try {
      deps.logger.warn({ service: name }, `guard "${name}" has another policy already; the first one stands`);
    } catch (error) {
      deps.onFault(error);
    }
  };

  return {
    of(name, policy) {
      const known = services.get(name);
      if (known !== undefined) {
        if (policy !== undefined) reportConflict(known, resolveGuardPolicy(name, policy, defaults));
        return known;
      }
      const made = new GuardedService(name, resolveGuardPolicy(name, policy ?? {}, defaults), deps);
      services.set(name, made);
      return made;
    },
    all: () => [...services.values()],
  };
}
