import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { describeControlChannel } from "../conformance/control-channel.js";

describeControlChannel("the local control channel", async () => {
  const faults: unknown[] = [];
  return {
    channel: createLocalControlChannel({ onFault: (error) => faults.push(error) }),
    faults,
    dispose: async () => undefined,
  };
});
