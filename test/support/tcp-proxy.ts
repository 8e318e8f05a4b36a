/** A network between a client and a server that a test can break: cut it, swallow what passes, or refuse to connect. */
import { createServer, connect as dial, type Server, type Socket } from "node:net";

export interface TcpProxy {
  readonly port: number;
  /** Resets every open connection. New ones work. */
  cut(): void;
  /** The same once, as soon as so many more bytes have come for clients. */
  cutAfter(bytes: number): void;
  /** Keeps connections open and swallows bytes in the named direction, or in both. */
  blackhole(direction?: "to_server" | "to_client" | "both"): void;
  /** Answers every new connection with a reset, and resets those that are open. */
  refuse(): void;
  /** Lets everything arrive in order and so much later, in both directions. */
  slow(ms: number): void;
  /** New connections go to this port; those that are open stay where they are. */
  redirect(port: number): void;
  /** Lets everything pass again; what was swallowed stays swallowed. */
  resume(): void;
  close(): Promise<void>;
}

/** @example const proxy = await startTcpProxy({ port: redis.port }); */
export async function startTcpProxy(target: { readonly port: number }): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let swallowed: "none" | "to_server" | "to_client" | "both" = "none";
  let refusing = false;
  let latencyMs = 0;
  let untilCut = Number.POSITIVE_INFINITY;
  let targetPort = target.port;

  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    return socket;
  };
  const pump = (from: Socket, to: Socket, direction: "to_server" | "to_client") => {
    let before: Promise<void> = Promise.resolve();
    const write = (data: Buffer) => {
      if (!to.destroyed) to.write(data);
    };
    from.on("data", (data) => {
      if (swallowed === "both" || swallowed === direction) return;
      if (direction === "to_client") untilCut -= data.length;
      if (untilCut <= 0) {
        untilCut = Number.POSITIVE_INFINITY;
        cut();
        return;
      }
      if (latencyMs === 0) {
        before = before.then(() => write(data));
        return;
      }
      const arrival = new Promise<void>((resolve) => setTimeout(resolve, latencyMs));
      before = Promise.all([before, arrival]).then(() => write(data));
    });
    from.on("close", () => to.destroy());
  };
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };

  const server: Server = createServer((client) => {
    keep(client);
    if (refusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = keep(dial(targetPort, "127.0.0.1"));
    // Nobody listens behind it: that is what a client should see, as if there were no proxy.
    upstream.on("error", () => client.resetAndDestroy());
    pump(client, upstream, "to_server");
    pump(upstream, client, "to_client");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();

  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    cut,
    cutAfter(bytes) {
      untilCut = bytes;
    },
    blackhole(direction = "both") {
      swallowed = direction;
    },
    refuse() {
      refusing = true;
      cut();
    },
    slow(ms) {
      latencyMs = ms;
    },
    redirect(port) {
      targetPort = port;
    },
    resume() {
      refusing = false;
      swallowed = "none";
      latencyMs = 0;
      untilCut = Number.POSITIVE_INFINITY;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
    },
  };
}
