/** A small inbound engine for adapter tests: chains and steps set by hand, on the real core types; and TLS from the test CA. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { PeerCertificate } from 'node:tls';
import { createSecureContext } from 'node:tls';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import type { TestCa } from '../../src/control-plane/ca/ca.ts';
import type { InboundCall } from '../../src/core/call.ts';
import type { ConnectionFacts, InboundChain, InboundEngine, InboundListener } from '../../src/core/engine.ts';
import type { Handler, Layer, Step } from '../../src/core/handler.ts';
import { stack, stepLayer } from '../../src/core/handler.ts';
import type { Observer } from '../../src/core/observer.ts';
import { ObserverSet } from '../../src/core/observer.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { Reply } from '../../src/core/reply.ts';
import { LocalReply } from '../../src/core/reply.ts';
import type { InboundTarget } from '../../src/core/target.ts';
import type { ClientSecurity, ServerSecurity } from '../../src/core/tls.ts';

const LABELS = { listener: '', routeConfig: '', virtualHost: '', route: '', cluster: '' };

export class FakeInbound implements InboundEngine, InboundListener {
  readonly clock = new RealClock();
  readonly storage = new AsyncLocalStorage<InboundCall>();
  readonly ended: InboundCall[] = [];
  started = 0;
  draining = false;
  state: InboundListener['state'] = 'serving';
  readonly problem = '';
  mode: InboundListener['mode'] = 'plaintext';
  steps: readonly Step<InboundCall>[] = [];
  /** False: the promise path. */
  direct = true;
  choose: (facts: ConnectionFacts) => InboundChain | undefined = () => ({ name: 'only', security: undefined });
  answer: ((call: InboundCall) => Reply | undefined) | undefined;
  readonly facts: ConnectionFacts[] = [];
  readonly #watchers = new Set<() => void>();

  readonly #observer: Observer = { onCallEnd: (call) => this.ended.push(call as InboundCall) };

  listen(): InboundListener {
    return this;
  }

  chain(facts: ConnectionFacts): InboundChain | undefined {
    this.facts.push(facts);
    return this.choose(facts);
  }

  open(call: InboundCall): InboundTarget | Reply {
    const reply = this.answer?.(call);
    if (reply !== undefined) return reply;
    const application: Handler<InboundCall> = { handle: (one) => one.runApplication() };
    const wait: Layer<InboundCall> = {
      name: 'wait',
      wrap: (next) => ({
        handle: async (one) => {
          await new Promise((resolve) => setImmediate(resolve));
          const answer = await next.handle(one);
          await new Promise((resolve) => setImmediate(resolve));
          return answer;
        },
      }),
    };
    const handler = stack([wait, ...this.steps.map((step) => stepLayer('step', step))], application);
    const target: InboundTarget = {
      handler,
      steps: this.direct ? this.steps : undefined,
      observers: new ObserverSet([this.#observer]),
      labels: LABELS,
      clock: this.clock,
    };
    call.target = target;
    call.startedAt = this.clock.now();
    this.started++;
    return target;
  }

  handle(call: InboundCall): Promise<Reply> {
    const target = call.target ?? this.open(call);
    return 'handler' in target ? target.handler.handle(call) : Promise.resolve(target);
  }

  onChange(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  change(): void {
    for (const watcher of this.#watchers) watcher();
  }

  runInContext<R>(call: InboundCall, run: () => R): R {
    return this.storage.run(call, run);
  }
}

export function denial(status: number, text: string): LocalReply {
  return new LocalReply(
    status,
    {
      get: () => undefined,
      has: () => false,
      set: () => undefined,
      append: () => undefined,
      remove: () => undefined,
      entries: () => [['content-type', 'text/plain']],
    },
    text,
  );
}

export function testCa(): TestCa {
  return createTestCa({ trustDomain: 'test', clock: new RealClock() });
}

interface Material {
  readonly cert: string;
  readonly key: string;
}

export function identity(ca: TestCa, spiffeId: string): Material {
  const { certificateChainPem, privateKeyPem } = ca.issue({ spiffeId, dnsNames: ['shop'] });
  return { cert: certificateChainPem, key: privateKeyPem };
}

export class FakeServerSecurity implements ServerSecurity {
  generation = 1;
  material = (): undefined => undefined;
  problem = 'not there yet';
  readonly requireClientCertificate: boolean;
  readonly verifiesClients = true;
  readonly alpn: readonly string[] = [];
  readonly #ca: TestCa;
  current: Material | undefined;
  accepts: (certificate: PeerCertificate) => boolean = () => true;

  constructor(ca: TestCa, current: Material | undefined, requireClientCertificate = true) {
    this.#ca = ca;
    this.current = current;
    this.requireClientCertificate = requireClientCertificate;
  }
  secureContext(): ReturnType<typeof createSecureContext> | undefined {
    return this.current === undefined ? undefined : createSecureContext({ ...this.current, ca: this.#ca.certificatePem });
  }
  verifyPeer(certificate: PeerCertificate): Error | undefined {
    if (certificate.raw === undefined) return this.requireClientCertificate ? new Error('no certificate') : undefined;
    return this.accepts(certificate) ? undefined : new Error('not accepted');
  }
  onRotate(): () => void {
    return () => undefined;
  }
}

export class FakeClientSecurity implements ClientSecurity {
  generation = 1;
  material = (): undefined => undefined;
  problem = 'certificates are awaited';
  serverName: string | undefined = 'shop';
  readonly alpn: readonly string[] = [];
  readonly verifiesChain: boolean = true;
  readonly #ca: TestCa;
  current: Material | undefined;
  verified = 0;
  accepts: (certificate: PeerCertificate) => boolean = () => true;

  constructor(ca: TestCa, current: Material | undefined) {
    this.#ca = ca;
    this.current = current;
  }
  secureContext(): ReturnType<typeof createSecureContext> | undefined {
    return this.current === undefined ? undefined : createSecureContext({ ...this.current, ca: this.#ca.certificatePem });
  }
  verifyPeer(_hostname: string, certificate: PeerCertificate): Error | undefined {
    this.verified++;
    return this.accepts(certificate) ? undefined : new Error('the SAN is not accepted');
  }
  onRotate(): () => void {
    return () => undefined;
  }
}
