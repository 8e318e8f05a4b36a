/** Requests in a bounded loop over connections that stay: by bytes, so that the client takes little from the server it measures. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface HttpLoad {
  /** Sends so many requests, one after another on each connection. Rejects for any answer but 200. */
  send(requests: number): Promise<void>;
  close(): void;
}

const HEAD_END = "\r\n\r\n";

/** @param path of a GET */
export async function openHttpLoad(port: number, path: string, connections: number): Promise<HttpLoad> {
  const request = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: application/json\r\n\r\n`;
  const sockets = await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = connect(port, "127.0.0.1").setNoDelay(true).setEncoding("utf8");
      await once(socket, "connect");
      return socket;
    }),
  );
  return {
    async send(requests) {
      let left = requests;
      await Promise.all(
        sockets.map(async (socket) => {
          while (left > 0) {
            left -= 1;
            await exchange(socket, request);
          }
        }),
      );
    },
    close() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function exchange(socket: Socket, request: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const settle = (error?: Error) => {
      socket.off("data", onData).off("close", onClose);
      if (error) reject(error);
      else resolve();
    };
    const onClose = () => settle(new Error("the server closed the connection"));
    const onData = (chunk: string) => {
      answer += chunk;
      const headEnd = answer.indexOf(HEAD_END);
      const length = /content-length: (\d+)/i.exec(answer)?.[1];
      if (headEnd < 0 || Buffer.byteLength(answer) < headEnd + HEAD_END.length + Number(length)) return;
      settle(answer.startsWith("HTTP/1.1 200 ") ? undefined : new Error(`the server answered ${answer.slice(0, 200)}`));
    };
    socket.on("data", onData).on("close", onClose);
    socket.write(request);
  });
}
