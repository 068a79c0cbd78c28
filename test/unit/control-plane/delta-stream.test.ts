/** The server side of an incremental stream: what is answered to which request, what is pushed, and what is not (Envoy X-30 to X-53). */
import { beforeEach, describe, expect, test } from 'vitest';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { Receiver } from '../../../src/control-plane/catalogue.ts';
import { ContentCatalogue } from '../../../src/control-plane/catalogue.ts';
import { contentOfJson, loadContent } from '../../../src/control-plane/content.ts';
import { DeltaStream } from '../../../src/control-plane/delta-stream.ts';
import { Encoder } from '../../../src/control-plane/encode/resource.ts';
import { PROVIDER } from '../../../src/control-plane/encode/tls.ts';
import type { DeltaRequest, DeltaResponse } from '../../../src/control-plane/messages.ts';
import type { Nack } from '../../../src/control-plane/stream.ts';
import type { ResourceJson } from '../../../src/sources/xds-snapshot.ts';

const A = 'version: 1\nservices:\n  a: { endpoints: ["127.0.0.1:1"] }\n  b: { endpoints: ["127.0.0.1:2"] }\n';
const RECEIVER: Receiver = { material: PROVIDER, secret: () => undefined };
const KIND_NAMES: Readonly<Record<string, string>> = Object.fromEntries(Object.entries(TYPE_URLS).map(([kind, url]) => [url, kind]));
const WRAPPER = 'type.googleapis.com/envoy.service.discovery.v3.Resource';
const encoder = new Encoder();

let catalogue: ContentCatalogue | undefined;
let stream: DeltaStream;
let sent: DeltaResponse[];
let nacks: Nack[];
let nonces: Map<string, string>;

function load(text: string): void {
  const result = loadContent(text, 'mesh.yaml', undefined);
  if (!result.ok) throw new Error('invalid');
  catalogue = ContentCatalogue.of(result.common, encoder, catalogue);
}

function raw(...resources: readonly ResourceJson[]): void {
  catalogue = ContentCatalogue.of(contentOfJson(resources), encoder, catalogue);
}

/** `cluster: a b -gone` per response since the last call; `b~` has no body, `b=c` is also known as c. */
const taken = (): string[] =>
  sent.splice(0).map(({ typeUrl, resources, removedResources }) => {
    const added = resources.map(
      ({ name, aliases, resource }) => `${name}${resource === undefined ? '~' : ''}${aliases.length === 0 ? '' : `=${aliases.join('|')}`}`,
    );
    return `${KIND_NAMES[typeUrl]}: ${[...added, ...removedResources.map((name) => `-${name}`)].join(' ')}`.trim();
  });

interface Ask extends Partial<DeltaRequest> {
  readonly add?: readonly string[];
  readonly drop?: readonly string[];
  readonly have?: Readonly<Record<string, string>>;
}

function ask(kind: ResourceKind, { add = [], drop = [], have = {}, ...extra }: Ask = {}): string[] {
  stream.onRequest({
    typeUrl: TYPE_URLS[kind],
    resourceNamesSubscribe: add,
    resourceNamesUnsubscribe: drop,
    initialResourceVersions: have,
    responseNonce: '',
    ...extra,
  });
  return taken();
}

/** Answers the last response of a type. */
const ack = (kind: ResourceKind): string[] => ask(kind, { responseNonce: nonces.get(kind) ?? '' });

function pushed(text: string): string[] {
  load(text);
  stream.update();
  return taken();
}

function open(): DeltaStream {
  return new DeltaStream({
    send: (response) => {
      sent.push(response);
      nonces.set(KIND_NAMES[response.typeUrl] ?? '', response.nonce);
    },
    onNack: (nack) => void nacks.push(nack),
    audience: () => ({
      receiver: RECEIVER,
      catalogue() {
        if (catalogue === undefined) throw new Error('nothing was loaded');
        return catalogue;
      },
    }),
  });
}

beforeEach(() => {
  catalogue = undefined;
  sent = [];
  nacks = [];
  nonces = new Map();
  load(A);
  stream = open();
});

describe('subscriptions by name', () => {
  test('every name is answered, the ones that do not exist as removed (X-34, X-35)', () => {
    expect(ask('cluster', { add: ['a', 'zzz'] })).toEqual(['cluster: a -zzz']);
    expect(ask('endpoints', { add: ['yyy'] })).toEqual(['endpoints: -yyy']);
  });

  test('an ACK is not answered, nor is what does not exist told again', () => {
    ask('cluster', { add: ['a', 'zzz'] });
    expect(ack('cluster')).toEqual([]);
    expect(pushed(`# the same\n${A}`)).toEqual([]);
  });

  test('only what is new is answered', () => {
    ask('cluster', { add: ['a'] });
    expect(ask('cluster', { add: ['b'] })).toEqual(['cluster: b']);
  });

  test('asking for what one has is answered (X-35)', () => {
    ask('cluster', { add: ['a'] });
    expect(ask('cluster', { add: ['a'] })).toEqual(['cluster: a']);
  });

  test('dropped and asked for again, in two requests or one: sent as new (X-35)', () => {
    ask('endpoints', { add: ['a'] });
    expect(ask('endpoints', { drop: ['a'] })).toEqual([]);
    expect(ask('endpoints', { add: ['a'] })).toEqual(['endpoints: a']);
    expect(ask('endpoints', { add: ['a'], drop: ['a'] })).toEqual(['endpoints: a']);
  });

  test('what is dropped is not pushed; a drop of what was never asked for is ignored (X-36)', () => {
    ask('endpoints', { add: ['a', 'b'] });
    expect(ask('endpoints', { drop: ['a', 'phantom'] })).toEqual([]);
    expect(pushed(A.replace(':1"', ':11"'))).toEqual([]);
  });

  test('the last name dropped means nothing, not everything (X-52)', () => {
    ask('cluster', { add: ['a'] });
    expect(ask('cluster', { drop: ['a'] })).toEqual([]);
    expect(ack('cluster')).toEqual([]);
  });

  test('a removed name stays subscribed: it comes when it is there again (X-34)', () => {
    ask('endpoints', { add: ['b'] });
    expect(pushed('version: 1\nservices:\n  a: { endpoints: ["127.0.0.1:1"] }\n')).toEqual(['endpoints: -b']);
    stream.update();
    expect(taken()).toEqual([]);
    expect(pushed(A)).toEqual(['endpoints: b']);
  });

  test('a stale nonce changes nothing about subscriptions (X-31)', () => {
    ask('endpoints', { add: ['a'] });
    const old = nonces.get('endpoints') ?? '';
    expect(pushed(A.replace(':1"', ':11"'))).toEqual(['endpoints: a']);
    expect(ask('endpoints', { add: ['b'], responseNonce: old })).toEqual(['endpoints: b']);
  });
});

describe('the wildcard', () => {
  test('no name in the first request, or a star (X-50)', () => {
    expect(ask('cluster')).toEqual(['cluster: a b']);
    expect(ask('listener', { add: ['*'] })).toEqual(['listener: a b']);
  });

  test('not for types that are no complete lists', () => {
    expect(ask('endpoints')).toEqual([]);
    expect(ask('endpoints', { add: ['a'] })).toEqual(['endpoints: a']);
  });

  test('nothing to say is said once', () => {
    load('version: 1\n');
    expect(ask('cluster')).toEqual(['cluster:']);
    expect(ack('cluster')).toEqual([]);
    stream.update();
    expect(taken()).toEqual([]);
  });

  test('a name beside it, then without it, then nothing (X-52)', () => {
    ask('cluster');
    expect(ask('cluster', { add: ['a'] })).toEqual(['cluster: a']);
    expect(ask('cluster', { drop: ['*'] })).toEqual([]);
    const changed = A.replace('a: {', 'a: { lb: random,').replace('b: {', 'b: { lb: random,');
    expect(pushed(changed)).toEqual(['cluster: a']);
    expect(ask('cluster', { drop: ['a'] })).toEqual([]);
    expect(pushed(A)).toEqual([]);
  });

  test('a name dropped beside it is ambiguous for the client: sent, or said to be gone (X-36)', () => {
    ask('cluster', { add: ['*', 'a', 'zzz'] });
    expect(ask('cluster', { drop: ['a'] })).toEqual(['cluster: a']);
    expect(ask('cluster', { drop: ['zzz'] })).toEqual(['cluster: -zzz']);
    expect(ack('cluster')).toEqual([]);
  });

  test('what is gone is removed, what comes is added', () => {
    ask('cluster');
    expect(pushed('version: 1\nservices:\n  a: { endpoints: ["127.0.0.1:1"] }\n  c: {}\n')).toEqual(['cluster: c', 'cluster: -b']);
  });
});

describe('a client that comes back', () => {
  function versions(kind: ResourceKind, names: readonly string[]): Record<string, string> {
    const one = open();
    one.onRequest({
      typeUrl: TYPE_URLS[kind],
      resourceNamesSubscribe: names,
      resourceNamesUnsubscribe: [],
      initialResourceVersions: {},
      responseNonce: '',
    });
    return Object.fromEntries(sent.splice(0).flatMap(({ resources }) => resources.map(({ name, version }) => [name, version])));
  }

  test('is sent only what differs from what it has, and told what is gone (X-32)', () => {
    const have = versions('cluster', []);
    expect(Object.keys(have)).toEqual(['a', 'b']);
    load(A.replace('a: {', 'a: { lb: random,'));
    expect(ask('cluster', { have: { ...have, old: '1' } })).toEqual(['cluster: a -old']);
  });

  test('and everything that it does not have', () => {
    const { a = '' } = versions('endpoints', ['a']);
    expect(ask('endpoints', { add: ['a', 'b', 'zzz'], have: { a } })).toEqual(['endpoints: b -zzz']);
  });

  test('versions outlive the control plane: they are those of the bytes', () => {
    const before = versions('endpoints', ['a']);
    catalogue = undefined;
    load(A);
    expect(versions('endpoints', ['a'])).toEqual(before);
  });

  test('only the first request for a type counts', () => {
    ask('endpoints', { add: ['a'] });
    expect(ask('endpoints', { add: ['b'], have: { b: 'x' } })).toEqual(['endpoints: b']);
  });
});

test('what is referred to is added first and removed last (X-82)', () => {
  for (const kind of ['routes', 'endpoints', 'listener', 'cluster'] as const) ask(kind, { add: ['a', 'b', 'c'] });
  expect(pushed('version: 1\nservices:\n  a: { routes: [{ to: { service: c } }] }\n  c: { endpoints: ["127.0.0.1:3"] }\n')).toEqual([
    'cluster: c',
    'endpoints: c',
    'listener: c',
    'routes: a c',
    'routes: -b',
    'listener: -b',
    'endpoints: -a -b',
    'cluster: -a -b',
  ]);
});

test('a NACK is recorded with what was refused, and not answered', () => {
  ask('endpoints', { add: ['a'], node: { id: 'n1', cluster: '' } });
  const nonce = nonces.get('endpoints') ?? '';
  load(A.replace(':1"', ':11"'));
  stream.update();
  taken();
  expect(ask('endpoints', { responseNonce: nonce, errorDetail: { code: 3, message: 'bad port' } })).toEqual([]);
  expect(nacks).toEqual([{ nodeId: 'n1', typeUrl: TYPE_URLS.endpoints, version: '1', message: 'bad port' }]);
});

test('paused: nothing, then everything that is owed', () => {
  stream.pause();
  expect(ask('endpoints', { add: ['a', 'zzz'] })).toEqual([]);
  load(A.replace(':1"', ':11"'));
  stream.update();
  expect(taken()).toEqual([]);
  stream.resume();
  expect(taken()).toEqual(['endpoints: a', 'endpoints: -zzz']);
});

describe('raw resources', () => {
  const VHOST = 'type.googleapis.com/envoy.config.route.v3.VirtualHost';
  const host = (name: string, domains: readonly string[]): ResourceJson => ({
    '@type': WRAPPER,
    name: `rc/${name}`,
    aliases: domains.map((domain) => `rc/${domain}`),
    resource: { '@type': VHOST, name, domains },
  });

  test('by an alias; one that leads nowhere is answered without a body (X-40, X-90)', () => {
    raw(host('web', ['web.local', 'web']));
    expect(ask('virtual-host', { add: ['rc/web.local'] })).toEqual(['virtual-host: rc/web=rc/web.local|rc/web']);
    expect(ask('virtual-host', { add: ['rc/none'] })).toEqual(['virtual-host: rc/none~=rc/none']);
    raw();
    stream.update();
    expect(taken()).toEqual(['virtual-host: -rc/web']);
    stream.update();
    expect(taken()).toEqual([]);
    raw(host('web', ['web.local']), host('none', []));
    stream.update();
    expect(taken()).toEqual(['virtual-host: rc/web=rc/web.local rc/none']);
  });

  test('a given version counts, not the bytes', () => {
    const cluster = (version: string, type: string): ResourceJson => ({
      '@type': WRAPPER,
      version,
      resource: { '@type': TYPE_URLS.cluster, name: 'x', type },
    });
    raw(cluster('7', 'EDS'));
    expect(ask('cluster', { add: ['x'] })).toEqual(['cluster: x']);
    raw(cluster('7', 'STATIC'));
    stream.update();
    expect(taken()).toEqual([]);
    raw(cluster('8', 'STATIC'));
    stream.update();
    expect(sent[0]?.resources[0]?.version).toBe('8');
  });

  test('heartbeats: no body, the version that the client has, only for what has a time to live (X-71)', () => {
    raw(
      { '@type': WRAPPER, ttl: '1.5s', resource: { '@type': TYPE_URLS.cluster, name: 'mortal' } },
      { '@type': TYPE_URLS.cluster, name: 'x' },
    );
    ask('cluster');
    stream.heartbeat();
    const [beat] = sent.splice(0);
    expect(beat?.resources).toMatchObject([{ name: 'mortal', ttl: { seconds: 1n, nanos: 500_000_000 } }]);
    expect(beat?.resources[0]?.resource).toBeUndefined();
  });

  test('xdstp names in any order of parameters, and collections (X-61)', () => {
    const type = TYPE_URLS.endpoints;
    const name = (last: string): string => `xdstp://auth/envoy.config.endpoint.v3.ClusterLoadAssignment/s/${last}?b=2&a=1`;
    const at = (last: string): ResourceJson => ({ '@type': type, cluster_name: name(last) });
    raw(at('one'), at('two'));
    const canonical = (last: string): string => name(last).replace('b=2&a=1', 'a=1&b=2');
    expect(ask('endpoints', { add: [name('one')] })).toEqual([`endpoints: ${canonical('one')}`]);
    expect(ask('endpoints', { add: [name('*')] })).toEqual([`endpoints: ${canonical('two')}`]);
    raw(at('one'), at('three'));
    stream.update();
    expect(taken()).toEqual([`endpoints: ${canonical('three')}`, `endpoints: -${canonical('two')}`]);
  });

  test('a type that nobody knows, as bytes', () => {
    const typeUrl = 'type.googleapis.com/example.Thing';
    raw({ '@type': WRAPPER, name: 't', resource: { '@type': typeUrl, '@bytes': 'AQI=' } });
    stream.onRequest({
      typeUrl,
      resourceNamesSubscribe: ['t'],
      resourceNamesUnsubscribe: [],
      initialResourceVersions: {},
      responseNonce: '',
    });
    expect(sent).toMatchObject([{ typeUrl, resources: [{ name: 't', resource: { typeUrl, value: Buffer.from([1, 2]) } }] }]);
  });
});
