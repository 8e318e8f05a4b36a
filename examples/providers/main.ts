/**
 * The process of the fake providers. `GET /` on the control endpoint tells how each one behaves and how many requests it
 * got; `POST /` with `{ "<name>": { "kind": … } }` changes that. Both listen on loopback only.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { announceReady, endWithParent } from "../child-side.js";
import { seededRandom } from "../seeded-random.js";
import { type Behaviour, controlSchema } from "./behaviour.js";
import { createFakeProvider, type FakeProvider } from "./fake-provider.js";

const PROVIDER_NAMES = ["anthropic", "openai", "deepseek"] as const;
const AT_FIRST: Behaviour = { kind: "healthy", minMs: 20, maxMs: 120 };

export interface ProvidersReady {
  readonly controlURL: string;
  /** In order of preference. */
  readonly providers: readonly { readonly name: string; readonly baseURL: string }[];
}

endWithParent();
const providers = new Map<string, FakeProvider>();
for (const [index, name] of PROVIDER_NAMES.entries()) {
  providers.set(name, await createFakeProvider(name, seededRandom(index + 1), AT_FIRST));
}

const control = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  try {
    if (request.method === "POST") {
      const wanted = controlSchema.parse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
      for (const [name, behaviour] of Object.entries(wanted)) {
        const provider = providers.get(name);
        if (!provider) throw new Error(`there is no provider "${name}"; there are ${PROVIDER_NAMES.join(", ")}`);
        await provider.behave(behaviour);
      }
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.end(
      JSON.stringify(Object.fromEntries([...providers].map(([name, provider]) => [name, provider.status()]))),
    );
  } catch (error) {
    response.writeHead(400, { "content-type": "text/plain" });
    response.end(error instanceof Error ? error.message : String(error));
  }
});
control.listen(0, "127.0.0.1");
await once(control, "listening");

const ready: ProvidersReady = {
  controlURL: `http://127.0.0.1:${(control.address() as AddressInfo).port}/`,
  providers: [...providers].map(([name, provider]) => ({ name, baseURL: provider.baseURL })),
};
announceReady(ready);
