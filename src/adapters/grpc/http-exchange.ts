/** One small HTTP request for a token: a limit of time, a limit of size, no redirects. Trouble is a `CredentialProblem` without secrets. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Alarm, Clock } from '../../core/clock.ts';
import { CredentialProblem } from './token-cache.ts';

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 64 * 1024;

export interface HttpExchange {
  readonly url: string;
  /** Sent as `application/x-www-form-urlencoded` with POST; absent: GET. */
  readonly form?: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  /** Whom a problem is said to come from. */
  readonly from: string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

export interface HttpReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Rejects with a `CredentialProblem`. A request in flight does not keep the process alive. */
export async function exchange({ url, form, headers, from, signal, clock }: HttpExchange): Promise<HttpReply> {
  const body = form === undefined ? undefined : new URLSearchParams(form).toString();
  // Only then: importing node:http by name builds all of its exports, Node's own copy of undici among them (30 ms).
  const { request: send } = url.startsWith('https:') ? await import('node:https') : await import('node:http');
  return new Promise((resolve, reject) => {
    const request = send(url, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }) },
      signal,
      // No connection of the application's own agent, and none that is left open.
      agent: false,
    });
    const alarm: Alarm = { onAlarm: () => void request.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)) };
    const timer = clock.set(alarm, TIMEOUT_MS, true);
    const fail = (error: Error): void => {
      clock.clear(timer);
      reject(new CredentialProblem(`${from} cannot be asked: ${reasonOf(error)}`));
    };
    request.on('socket', (socket) => socket.unref());
    request.on('error', fail);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('error', fail);
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        chunks.push(chunk);
        if (size > MAX_BYTES) request.destroy(new Error('the answer is too long'));
      });
      response.on('end', () => {
        clock.clear(timer);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString('utf8') });
      });
    });
    request.end(body);
  });
}

function reasonOf(error: Error): string {
  const code = (error as NodeJS.ErrnoException).code;
  return code !== undefined && code !== '' && !error.message.includes(code) ? `${code}: ${error.message}` : error.message;
}
