/** HTTP servers for adapter tests: on 127.0.0.1, port 0, closed with their test. */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly body: string;
  readonly remotePort: number;
}

export interface TestServer {
  readonly port: number;
  readonly server: Server;
  readonly seen: Seen[];
  /** Sockets open now. */
  readonly sockets: Set<Socket>;
}

export async function listen(server: {
  listen(port: number, host: string, done: () => void): unknown;
  address(): unknown;
}): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** Reads each request whole, keeps it, then answers through `answer`. */
export async function serve(answer: (request: Seen, response: ServerResponse, number: number) => void): Promise<TestServer> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('error', () => undefined);
    request.on('end', () => {
      const { method = '', url = '', headers, rawHeaders } = request;
      const one = { method, url, headers, rawHeaders, body: Buffer.concat(parts).toString(), remotePort: request.socket.remotePort ?? 0 };
      seen.push(one);
      answer(one, response, seen.length);
    });
  });
  const sockets = track(server);
  const port = await listen(server);
  return { port, server, seen, sockets };
}

export function track(server: { on(event: 'connection', listener: (socket: Socket) => void): unknown; close(): unknown }): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return sockets;
}

/** A raw TCP server. */
export async function serveTcp(
  onSocket: (socket: Socket, number: number) => void,
): Promise<{ readonly port: number; readonly sockets: Set<Socket> }> {
  let count = 0;
  const server = createTcpServer((socket) => onSocket(socket, ++count));
  const sockets = track(server);
  return { port: await listen(server), sockets };
}

/** A port where nobody listens. */
export async function deadPort(): Promise<number> {
  const server = createTcpServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until `condition` holds; fails after `ms`. */
export async function until(condition: () => boolean, ms = 2000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
