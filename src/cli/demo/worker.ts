/** One process of the demo, seen from the parent: forked, given orders, ended. */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MeshError } from '../../core/errors.ts';
import { readEnvironment } from '../../core/environment.ts';
import type { FromProcess, Order, RoleName, Span } from './messages.ts';

/** Source runs as `.ts` (type stripping), the package as `.js`. */
const ENTRY = fileURLToPath(new URL(`./process-main${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url));

export interface WorkerEvents {
  onSpan(span: Span): void;
  onLog(text: string): void;
  /** The process ended although nobody asked it to. */
  onLoss(worker: string, why: string): void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

type Argument<O, K extends keyof O> = O[K] extends (argument: infer A) => Promise<unknown> ? A : never;
type Answer<O, K extends keyof O> = O[K] extends (argument: never) => Promise<infer R> ? R : never;

/** `O`: the orders that its role takes. */
export class Worker<O> {
  readonly name: string;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #orders = 0;
  #leaving = false;
  #exit: Exit | undefined;

  constructor(role: RoleName, name: string, home: string, events: WorkerEvents) {
    this.name = name;
    this.#child = fork(ENTRY, [role, home, name], {
      execArgv: [],
      // Everything that a process writes to the temporary folder lands in the demo's own.
      env: { ...readEnvironment(), TMPDIR: home, TMP: home, TEMP: home },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let complaint = '';
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-2000);
      events.onLog(`${name}: ${text.trimEnd()}`);
    });
    this.#child.on('message', (message: FromProcess) => this.#heed(message, events));
    this.exited = new Promise((resolve) => {
      const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
        if (this.#exit !== undefined) return;
        this.#exit = { code, signal };
        const why = `${name} ended with ${signal ?? `code ${String(code)}`}${complaint === '' ? '' : `: ${complaint.trim()}`}`;
        for (const pending of this.#pending.values()) pending.reject(new MeshError('ERR_MESH_CLOSED', why));
        this.#pending.clear();
        if (!this.#leaving) events.onLoss(name, why);
        resolve(this.#exit);
      };
      this.#child.once('exit', ended);
      this.#child.once('error', (error) => {
        complaint = error.message;
        if (this.#child.pid === undefined) ended(null, null);
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get alive(): boolean {
    return this.#exit === undefined;
  }

  ask<K extends keyof O & string>(kind: K, argument: Argument<O, K>): Promise<Answer<O, K>> {
    const id = ++this.#orders;
    const order: Order = { id, kind, argument };
    return new Promise((resolve, reject) => {
      if (!this.alive) {
        reject(new MeshError('ERR_MESH_CLOSED', `${this.name} is not running`));
        return;
      }
      this.#pending.set(id, { resolve: (value) => resolve(value as Answer<O, K>), reject });
      this.#child.send(order, (error) => {
        if (error !== null && this.#pending.delete(id)) reject(error);
      });
    });
  }

  /** From now on its end is no surprise. */
  dismiss(): void {
    this.#leaving = true;
  }

  kill(): void {
    this.dismiss();
    this.#child.kill('SIGKILL');
  }

  #heed(message: FromProcess, events: WorkerEvents): void {
    switch (message.kind) {
      case 'span':
        events.onSpan(message.span);
        break;
      case 'log':
        events.onLog(message.text);
        break;
      case 'answer':
      case 'refusal': {
        const pending = this.#pending.get(message.id);
        this.#pending.delete(message.id);
        if (message.kind === 'answer') pending?.resolve(message.value);
        else pending?.reject(new MeshError('ERR_MESH_CONFIG', `${this.name}: ${message.reason}`));
      }
    }
  }
}
