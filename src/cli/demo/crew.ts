/** All processes of the demo and the one folder that they write to: started together, ended together, whatever happens in between. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import { sleep } from '../../core/clock.ts';
import { MeshError } from '../../core/errors.ts';
import type { MeshState } from './mesh-file.ts';
import { meshFile } from './mesh-file.ts';
import type { ControlPlaneOrders, Report, Span, WorkloadOrders } from './messages.ts';
import { HOME_PREFIX } from './process-main.ts';
import { Worker } from './worker.ts';

export type ControlPlaneProcess = Worker<ControlPlaneOrders>;
export type WorkloadProcess = Worker<WorkloadOrders>;

/** One service: a process, the role that it plays, and the identity that its certificate proves. */
export interface Member {
  readonly name: string;
  readonly role: 'web' | 'cart' | 'stock' | 'prices';
  readonly port: number;
  readonly process: WorkloadProcess;
}

const CAST = [
  ['web', 'web'],
  ['cart', 'cart'],
  ['stock', 'stock'],
  ['prices-v1', 'prices'],
  ['prices-v2a', 'prices'],
  ['prices-v2b', 'prices'],
  ['prices-v2c', 'prices'],
] as const;

/** How long the processes may take to end by themselves. */
const PATIENCE_MS = 4000;

export class Crew {
  readonly home = mkdtempSync(join(tmpdir(), HOME_PREFIX));
  /** What processes had to say; shown when the demo fails. */
  readonly log: string[] = [];
  readonly spans: Span[] = [];
  /** Rejects when a process ends that should not have. */
  readonly lost: Promise<never>;
  members: readonly Member[] = [];
  readonly #clock: Clock;
  readonly #workers: Worker<WorkloadOrders | ControlPlaneOrders>[] = [];
  #controlPlane: ControlPlaneProcess | undefined;
  readonly #onExit = (): void => this.#clear();

  constructor(clock: Clock) {
    this.#clock = clock;
    let lose: (error: Error) => void = () => undefined;
    this.lost = new Promise((_resolve, reject) => {
      lose = reject;
    });
    this.lost.catch(() => undefined);
    this.#lose = (why) => lose(new MeshError('ERR_MESH_CLOSED', why));
    // Also when this process ends in a way that runs nothing else.
    process.once('exit', this.#onExit);
  }

  readonly #lose: (why: string) => void;

  /** Starts everything and serves the first mesh.yaml. `state` is asked for once the ports are known. */
  async start(state: Omit<MeshState, 'ports'>): Promise<void> {
    const plane = (this.#controlPlane = this.#fork<ControlPlaneOrders>('control-plane', 'control-plane'));
    const workers = CAST.map(([name, role]) => ({ name, role, process: this.#fork<WorkloadOrders>(role, name) }));
    await plane.ask('listen', 'version: 1\nidentity: { trustDomain: demo }\n');
    this.members = await Promise.all(
      workers.map(async ({ name, role, process }) => {
        const bootstrap = await plane.ask('bootstrap', { nodeId: name, identity: role });
        const { port } = await process.ask('open', { bootstrap, name });
        return { name, role, port, process };
      }),
    );
    await this.update(state);
    await Promise.all(this.members.map(({ process }) => process.ask('ready', null)));
  }

  get controlPlane(): ControlPlaneProcess {
    if (this.#controlPlane === undefined) throw new MeshError('ERR_MESH_CLOSED', 'the control plane was not started');
    return this.#controlPlane;
  }

  member(name: (typeof CAST)[number][0]): Member {
    const member = this.members.find((candidate) => candidate.name === name);
    if (member === undefined) throw new MeshError('ERR_MESH_CLOSED', `${name} was not started`);
    return member;
  }

  /** Those with an inbound side that the mesh protects: all but the entrance. */
  get protectedMembers(): readonly Member[] {
    return this.members.filter(({ role }) => role !== 'web');
  }

  /** Serves a new mesh.yaml to all of them; resolves with the moment (`clock.now()`) at which it was handed over. */
  async update(state: Omit<MeshState, 'ports'>): Promise<number> {
    const at = this.#clock.now();
    await this.controlPlane.ask(
      'update',
      meshFile({ ...state, ports: this.members.map(({ name, role, port }) => ({ name, role, port })) }),
    );
    return at;
  }

  async reports(members: readonly Member[] = this.members): Promise<ReadonlyMap<string, Report>> {
    return new Map(await Promise.all(members.map(async ({ name, process }) => [name, await process.ask('report', null)] as const)));
  }

  /** Ends all processes and removes the folder. True when every process ended by itself and nothing is left. */
  async close(): Promise<{ readonly ended: number; readonly killed: number; readonly left: readonly string[] }> {
    const running = this.#workers.filter(({ alive }) => alive);
    for (const worker of running) {
      worker.dismiss();
      worker.ask('close', null).catch(() => undefined);
    }
    const over = new AbortController();
    await Promise.race([Promise.all(running.map(({ exited }) => exited)), sleep(this.#clock, PATIENCE_MS, over.signal)]);
    over.abort();
    const stubborn = running.filter(({ alive }) => alive);
    for (const worker of stubborn) worker.kill();
    await Promise.all(stubborn.map(({ exited }) => exited));
    process.removeListener('exit', this.#onExit);
    // A process that was killed could not remove its own.
    rmSync(this.home, { recursive: true, force: true });
    return { ended: running.length - stubborn.length, killed: stubborn.length, left: remains(this.home) };
  }

  #fork<O extends WorkloadOrders | ControlPlaneOrders>(role: Member['role'] | 'control-plane', name: string): Worker<O> {
    const worker = new Worker<O>(role, name, this.home, {
      onSpan: (span) => void this.spans.push(span),
      onLog: (text) => void this.log.push(text),
      onLoss: (_worker, why) => this.#lose(why),
    });
    this.#workers.push(worker as unknown as Worker<WorkloadOrders | ControlPlaneOrders>);
    return worker;
  }

  #clear(): void {
    for (const worker of this.#workers) if (worker.alive) worker.kill();
    rmSync(this.home, { recursive: true, force: true });
  }
}

function remains(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
