/** What an operator may change while the process runs, under the environment's ceiling. */
import type { Mode } from "../../shared/mode.js";

export interface Settings {
  /** The mode now in force. */
  mode(): Mode;
  /** Emergency stop: repairs wait, rescues and local circuits go on. */
  stopped(): boolean;
}
