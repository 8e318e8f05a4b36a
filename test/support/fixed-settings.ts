/** Settings that nobody changes, for what is not about them. */
import type { SettingsControl } from "../../server/ports/settings.js";

export const fixedSettings: SettingsControl = {
  view: () => ({ settings: [], ageMs: 0, repairsWait: false, unstored: [] }),
  change: async () => ({ committed: false, stored: undefined }),
};
