/**
 * What a stranger on the network gets: raw connections to a port, in plaintext or over TLS without a certificate. Nothing of inmesh is
 * used here, so that its servers are judged from outside.
 */
import type { Socket } from 'node:net';
import { connect as connectPlain } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { connect as connectTls } from 'node:tls';

/** `answered`: bytes came back. `refused`: closed without a byte of an answer. */
export type ProbeResult = 'answered' | 'refused' | 'no answer';

const PATIENCE_MS = 2000;

export interface Door {
  readonly port: number;
  readonly protocol: 'http' | 'grpc';
}

/** A request, or for HTTP/2 the preface, to which a server has to answer with its settings (RFC 9113 §3.4). */
function greeting(protocol: Door['protocol']): Buffer {
  if (protocol === 'http') return Buffer.from('GET /price/7 HTTP/1.1\r\nHost: prices\r\nConnection: close\r\n\r\n');
  return Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);
}

export function probePlaintext({ port, protocol }: Door): Promise<ProbeResult> {
  const socket = connectPlain({ port, host: '127.0.0.1', timeout: PATIENCE_MS }, () => void socket.write(greeting(protocol)));
  return outcome(socket);
}

export function probeWithoutCertificate({ port, protocol }: Door): Promise<ProbeResult> {
  const socket = connectTls(stranger(port, protocol), () => void socket.write(greeting(protocol)));
  return outcome(socket);
}

/** Whether the port speaks TLS at all, whoever may use it then. */
export function speaksTls({ port, protocol }: Door): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTls(stranger(port, protocol), () => end(true));
    const end = (spoken: boolean): void => {
      resolve(spoken);
      socket.destroy();
    };
    socket.on('timeout', () => end(false));
    socket.on('error', () => end(false));
    socket.on('close', () => end(false));
  });
}

function stranger(port: number, protocol: Door['protocol']): ConnectionOptions {
  return {
    port,
    host: '127.0.0.1',
    timeout: PATIENCE_MS,
    rejectUnauthorized: false,
    ALPNProtocols: [protocol === 'grpc' ? 'h2' : 'http/1.1'],
  };
}

function outcome(socket: Socket): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const end = (result: ProbeResult): void => {
      resolve(result);
      socket.destroy();
    };
    socket.on('timeout', () => end('no answer'));
    socket.on('data', () => end('answered'));
    socket.on('error', () => end('refused'));
    socket.on('close', () => end('refused'));
  });
}
