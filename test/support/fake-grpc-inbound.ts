/** Inbound engine, listener and TLS material for tests of the gRPC adapter alone. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { PeerCertificate, SecureContext } from 'node:tls';
import { createSecureContext } from 'node:tls';
import type { IssuedCertificate, TestCa } from '../../src/control-plane/ca/ca.ts';
import type { InboundCall } from '../../src/core/call.ts';
import type { Clock } from '../../src/core/clock.ts';
import type { ConnectionFacts, InboundChain, InboundEngine, InboundListener } from '../../src/core/engine.ts';
import type { Step } from '../../src/core/handler.ts';
import { stack, stepLayer } from '../../src/core/handler.ts';
import { ObserverSet } from '../../src/core/observer.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { Reply } from '../../src/core/reply.ts';
import type { InboundTarget } from '../../src/core/target.ts';
import type { ClientSecurity, ServerSecurity, TlsMaterial } from '../../src/core/tls.ts';

/** Material of one identity that a test can rotate or take away. */
export class FakeIdentity {
  generation = 1;
  context: SecureContext | undefined;
  readonly problem = 'taken away by the test';
  readonly #ca: TestCa;

  constructor(ca: TestCa, spiffeId: string) {
    this.#ca = ca;
    this.rotate(ca.issue({ spiffeId }));
  }

  rotate(issued: IssuedCertificate, ca: TestCa = this.#ca): void {
    this.generation++;
    this.context = createSecureContext({ key: issued.privateKeyPem, cert: issued.certificateChainPem, ca: ca.certificatePem });
  }
}

const uris = (certificate: PeerCertificate): string[] =>
  (certificate.subjectaltname ?? '')
    .split(', ')
    .filter((n) => n.startsWith('URI:'))
    .map((n) => n.slice(4));

const nothing = { material: (): TlsMaterial | undefined => undefined, onRotate: () => () => undefined };

export function clientSecurity(identity: FakeIdentity, accepts: (uri: string) => boolean = () => true): ClientSecurity {
  return {
    ...nothing,
    get generation() {
      return identity.generation;
    },
    get problem() {
      return identity.problem;
    },
    secureContext: () => identity.context,
    serverName: undefined,
    alpn: ['h2'],
    verifiesChain: true,
    verifyPeer: (_host, certificate) =>
      uris(certificate).some(accepts) ? undefined : new Error(`no SAN of ${uris(certificate).join()} is accepted`),
  };
}

export function serverSecurity(
  identity: FakeIdentity,
  options: { required?: boolean; accepts?: (uri: string) => boolean } = {},
): ServerSecurity {
  const { required = true, accepts = () => true } = options;
  return {
    ...nothing,
    get generation() {
      return identity.generation;
    },
    get problem() {
      return identity.problem;
    },
    secureContext: () => identity.context,
    requireClientCertificate: required,
    verifiesClients: true,
    alpn: ['h2'],
    verifyPeer: (certificate) => (uris(certificate).some(accepts) ? undefined : new Error('not accepted')),
  };
}

export interface FakeInboundSetting {
  readonly steps?: readonly Step<InboundCall>[];
  /** False: the target has no steps, calls go through `handle`. */
  readonly direct?: boolean;
}

export class FakeListener implements InboundListener {
  state: InboundListener['state'] = 'serving';
  problem = '';
  mode: InboundListener['mode'] = 'plaintext';
  chains: { match: (facts: ConnectionFacts) => boolean; chain: InboundChain }[] = [
    { match: () => true, chain: { name: 'plain', security: undefined } },
  ];
  readonly seen: ConnectionFacts[] = [];
  readonly #target: InboundTarget;

  constructor(setting: FakeInboundSetting, clock: Clock, ended: InboundCall[]) {
    const layers = (setting.steps ?? []).map((step, i) => stepLayer(`step${i}`, step));
    this.#target = {
      handler: stack(layers, { handle: (call: InboundCall) => call.runApplication() }),
      steps: setting.direct === false ? undefined : (setting.steps ?? []),
      observers: new ObserverSet([{ onCallEnd: (call) => void ended.push(call as InboundCall) }]),
      labels: { listener: 'l', routeConfig: 'r', virtualHost: 'v', route: 'x', cluster: '' },
      clock,
    };
  }

  chain(facts: ConnectionFacts): InboundChain | undefined {
    this.seen.push(facts);
    return this.chains.find((c) => c.match(facts))?.chain;
  }

  open(call: InboundCall): InboundTarget | Reply {
    call.target = this.#target;
    return this.#target;
  }

  async handle(call: InboundCall): Promise<Reply> {
    await new Promise((resolve) => setTimeout(resolve, 5));
    return this.#target.handler.handle(call);
  }

  onChange(): () => void {
    return () => undefined;
  }
}

export class FakeInboundEngine implements InboundEngine {
  readonly clock = new RealClock();
  draining = false;
  readonly listener: FakeListener;
  readonly ended: InboundCall[] = [];
  readonly listened: string[] = [];
  readonly als = new AsyncLocalStorage<InboundCall>();

  constructor(setting: FakeInboundSetting = {}) {
    this.listener = new FakeListener(setting, this.clock, this.ended);
  }

  listen(host: string, port: number): InboundListener {
    this.listened.push(`${host}:${port}`);
    return this.listener;
  }

  /** The call whose application ran last. */
  running: InboundCall | undefined;

  runInContext<R>(call: InboundCall, run: () => R): R {
    this.running = call;
    return this.als.run(call, run);
  }
}
