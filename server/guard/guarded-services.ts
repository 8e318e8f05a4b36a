/** The guarded services of one Paramedic by name: one object per name, made with the first policy that is given for it. */
import type { Logger } from "../ports/logger.js";
import type { Random } from "../ports/random.js";
import { type GuardPolicy, type ResolvedGuardPolicy, resolveGuardPolicy } from "./guard-policy.js";
import { GuardedService, type GuardedServiceDeps } from "./guarded-service.js";
import { createNetworkWatch, kindOf, type NetworkWatch } from "./network-watch.js";
import { createRescueBudget, type RescueBudget } from "./rescue-budget.js";
import type { RescueBudgetPolicy } from "./rescue-budget-policy.js";

export interface GuardedServices {
  /** Made on first use. A different policy later is logged once and has no effect. */
  of(name: string, policy?: GuardPolicy): GuardedService;
  /** In the order in which they were made. */
  all(): readonly GuardedService[];
}

export function createGuardedServices(
  deps: Omit<GuardedServiceDeps, "network" | "rescueBudget"> & {
    readonly random: Random;
    readonly logger: Logger;
    readonly onFault: (error: unknown) => void;
  },
  defaults: GuardPolicy,
): GuardedServices {
  const services = new Map<string, GuardedService>();
  const conflicts = new Set<string>();
  const networks = new Map<string, NetworkWatch>();
  const budgets = new Map<string, { readonly policy: RescueBudgetPolicy; readonly budget: RescueBudget }>();
  resolveGuardPolicy("*", defaults);

  const networkOf = (kind: string): NetworkWatch => {
    const known = networks.get(kind);
    if (known !== undefined) return known;
    const ofKind = () => [...services.values()].filter(({ name }) => kindOf(name) === kind);
    const made = createNetworkWatch(
      { random: deps.random, onDown: (suspects) => blameNetwork(kind, suspects) },
      ofKind,
    );
    networks.set(kind, made);
    return made;
  };

  /** Circuits that nothing but the network has opened are closed again: they would outlast it. */
  const blameNetwork = (kind: string, suspects: ReadonlyMap<string, number>): void => {
    try {
      for (const [name, failures] of suspects) {
        const circuit = services.get(name)?.circuit();
        const { state, failureCount } = circuit?.getState() ?? { state: "closed", failureCount: 0 };
        if (state === "open" && failureCount <= failures) circuit?.reset("repair");
      }
      const names = [...suspects.keys()].join(", ");
      deps.logger.warn(
        { kind },
        `the network does not reach ${names}: they are asked again in a moment, one call at a time`,
      );
    } catch (error) {
      deps.onFault(error);
    }
  };

  /** One that is named is shared; one without a name is the service's own. */
  const rescueBudgetOf = (service: string, policy: RescueBudgetPolicy | undefined): RescueBudget | undefined => {
    if (policy === undefined) return undefined;
    const { name } = policy;
    if (name === undefined) return createRescueBudget(service, policy);
    const known = budgets.get(name);
    if (known === undefined) {
      const budget = createRescueBudget(name, policy);
      budgets.set(name, { policy, budget });
      return budget;
    }
    if (JSON.stringify(known.policy) !== JSON.stringify(policy)) {
      warn(service, `the rescue budget "${name}" has other limits already; the first ones stand`);
    }
    return known.budget;
  };

  const warn = (service: string, message: string): void => {
    try {
      deps.logger.warn({ service }, message);
    } catch (error) {
      deps.onFault(error);
    }
  };

  const reportConflict = ({ name, policy }: GuardedService, other: ResolvedGuardPolicy): void => {
    if (conflicts.has(name) || JSON.stringify(policy) === JSON.stringify(other)) return;
    conflicts.add(name);
    warn(name, `guard "${name}" has another policy already; the first one stands`);
  };

  return {
    of(name, policy) {
      const known = services.get(name);
      if (known !== undefined) {
        if (policy !== undefined) reportConflict(known, resolveGuardPolicy(name, policy, defaults));
        return known;
      }
      const resolved = resolveGuardPolicy(name, policy ?? {}, defaults);
      const network = deps.registry === undefined ? undefined : networkOf(kindOf(name));
      const rescueBudget = rescueBudgetOf(name, resolved.rescueBudget);
      const made = new GuardedService(name, resolved, { ...deps, network, rescueBudget });
      services.set(name, made);
      return made;
    },
    all: () => [...services.values()],
  };
}
