/** Shows a reply of the mesh's own to the application as if it had come from the wire: head, body, end, with flow control. */
import { createRequire } from 'node:module';
import type { HeaderMap } from '../../core/headers.ts';
import { toRaw } from './headers.ts';
import type { WireHandler } from './wire.ts';

/** Not imported by name: that builds all exports of node:http, Node's own copy of undici among them (30 ms). */
const { STATUS_CODES } = createRequire(import.meta.url)('node:http') as typeof import('node:http');

/** RFC 9110, 6.4.1: no body after these, nor after HEAD. */
function hasBody(method: string, status: number): boolean {
  return method !== 'HEAD' && status >= 200 && status !== 204 && status !== 205 && status !== 304;
}

export class LocalDelivery {
  readonly #app: WireHandler;
  readonly #body: Buffer;
  #waiting = false;
  #step: 'body' | 'end' | 'done' = 'body';
  readonly #stopped: () => boolean;

  /** `stopped`: asked between the steps; true once the application has aborted. */
  constructor(app: WireHandler, method: string, status: number, text: string, stopped: () => boolean) {
    this.#app = app;
    this.#stopped = stopped;
    this.#body = hasBody(method, status) ? Buffer.from(text) : Buffer.alloc(0);
  }

  start(method: string, status: number, headers: HeaderMap): void {
    const lengthAllowed = status >= 200 && status !== 204;
    const raw = [...toRaw(headers)];
    if (lengthAllowed && method !== 'HEAD' && !headers.has('content-length')) {
      raw.push(Buffer.from('content-length'), Buffer.from(String(this.#body.length)));
    }
    const go = this.#app.onHeaders(status, raw, () => this.#resume(), STATUS_CODES[status] ?? '');
    if (go === false) this.#waiting = true;
    else this.#run();
  }

  #resume(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#run();
  }

  #run(): void {
    if (this.#step === 'body' && !this.#stopped()) {
      this.#step = 'end';
      if (this.#body.length > 0 && this.#app.onData(this.#body) === false) {
        this.#waiting = true;
        return;
      }
    }
    if (this.#step === 'end' && !this.#stopped()) {
      this.#step = 'done';
      this.#app.onComplete([]);
    }
  }
}
