/** The server side of a state-of-the-world stream: what is answered to which request, and what is pushed. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { AdsRequest, AdsResponse } from '../../../src/control-plane/messages.ts';
import type { Receiver } from '../../../src/control-plane/catalogue.ts';
import { ContentCatalogue } from '../../../src/control-plane/catalogue.ts';
import { loadContent } from '../../../src/control-plane/content.ts';
import type { LoadedContent } from '../../../src/control-plane/content.ts';
import { Encoder } from '../../../src/control-plane/encode/resource.ts';
import { PROVIDER } from '../../../src/control-plane/encode/tls.ts';
import { SotwStream } from '../../../src/control-plane/sotw-stream.ts';
import type { Nack } from '../../../src/control-plane/stream.ts';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import { unpack } from '../../../src/proto/any.ts';

const A = 'version: 1\nservices:\n  a: { endpoints: ["127.0.0.1:1"] }\n  b: { endpoints: ["127.0.0.1:2"] }\ninbound: [{ port: 80 }]\n';
const KIND_NAMES: Readonly<Record<string, string>> = Object.fromEntries(Object.entries(TYPE_URLS).map(([kind, url]) => [url, kind]));

const RECEIVER: Receiver = { material: PROVIDER, secret: () => undefined };
const encoder = new Encoder();
let catalogue: ContentCatalogue | undefined;
let stream: SotwStream;
let sent: AdsResponse[];
let nacks: Nack[];
let loaded: (LoadedContent & { readonly ok: true }) | undefined;

function current(): ContentCatalogue {
  if (catalogue === undefined) throw new Error('nothing was loaded');
  return catalogue;
}

function load(text: string): boolean {
  const result = loadContent(text, 'mesh.yaml', loaded);
  if (!result.ok) throw new Error('invalid');
  loaded = result;
  const before = catalogue;
  catalogue = ContentCatalogue.of(result.common, encoder, before);
  return catalogue !== before;
}

const nameOf = (any: AdsResponse['resources'][number]): string => {
  const message = unpack<{ name?: string; clusterName?: string }>(any);
  return message.name ?? message.clusterName ?? '';
};
/** `cluster 1: a b` per response since the last call. */
const taken = (): string[] =>
  sent
    .splice(0)
    .map((response) => `${KIND_NAMES[response.typeUrl]} ${response.versionInfo}: ${response.resources.map(nameOf).join(' ')}`.trim());
const nonces = new Map<string, string>();

function ask(kind: ResourceKind, names: readonly string[], extra: Partial<AdsRequest> = {}): string[] {
  stream.onRequest({ typeUrl: TYPE_URLS[kind], versionInfo: '', resourceNames: names, responseNonce: nonces.get(kind) ?? '', ...extra });
  return taken();
}

beforeEach(() => {
  catalogue = undefined;
  sent = [];
  nacks = [];
  loaded = undefined;
  nonces.clear();
  load(A);
  stream = new SotwStream({
    send: (response) => {
      sent.push(response);
      nonces.set(KIND_NAMES[response.typeUrl] ?? '', response.nonce);
    },
    onNack: (nack) => void nacks.push(nack),
    audience: () => ({ receiver: RECEIVER, catalogue: current }),
  });
});

describe('answers', () => {
  test('only what is asked for', () => {
    expect(ask('cluster', ['a'])).toEqual(['cluster 1: a']);
    expect(ask('endpoints', ['a'])).toEqual(['endpoints 1: a']);
    expect(ask('routes', ['b'])).toEqual(['routes 1: b']);
    expect(ask('listener', ['a', 'b'])).toEqual(['listener 1: a b']);
  });

  test('an ACK is not answered', () => {
    ask('cluster', ['a']);
    expect(ask('cluster', ['a'])).toEqual([]);
    expect(ask('cluster', ['a'])).toEqual([]);
  });

  test('added names: clusters in full, endpoints only the new ones', () => {
    ask('cluster', ['a']);
    ask('endpoints', ['a']);
    expect(ask('cluster', ['a', 'b'])).toEqual(['cluster 1: a b']);
    expect(ask('endpoints', ['a', 'b'])).toEqual(['endpoints 1: b']);
  });

  test('a name that does not exist: said for full-state types, silence for the others', () => {
    expect(ask('listener', ['zzz'])).toEqual(['listener 1:']);
    expect(ask('endpoints', ['zzz'])).toEqual([]);
  });

  test('a dropped name that comes back is answered again', () => {
    ask('endpoints', ['a']);
    expect(ask('endpoints', [])).toEqual([]);
    expect(ask('endpoints', ['a'])).toEqual(['endpoints 1: a']);
  });

  test('the wildcard: no names before any name, or a star (Envoy X-14)', () => {
    expect(ask('cluster', [])).toEqual(['cluster 1: a b']);
    expect(ask('listener', ['*'])).toEqual(['listener 1: a b inbound/0.0.0.0:80']);
    // After names, no names means none.
    ask('cluster', ['a']);
    expect(ask('cluster', [])).toEqual([]);
    load(A.replace(':1"', ':11"').replace('a: {', 'a: { lb: random,'));
    stream.update();
    expect(taken()).toEqual([]);
  });

  test('an answer to an older response is ignored', () => {
    ask('cluster', ['a']);
    const old = nonces.get('cluster') ?? '';
    load(A.replace('a: {', 'a: { lb: random,'));
    stream.update();
    expect(taken()).toEqual(['cluster 2: a']);
    expect(ask('cluster', ['a', 'b'], { responseNonce: old })).toEqual([]);
    expect(ask('cluster', ['a', 'b'])).toEqual(['cluster 2: a b']);
  });

  test('types that nobody serves are ignored', () => {
    stream.onRequest({
      typeUrl: 'type.googleapis.com/envoy.service.runtime.v3.Runtime',
      versionInfo: '',
      resourceNames: [],
      responseNonce: '',
    });
    expect(taken()).toEqual([]);
  });

  test('a server asks for the address that it is bound to', () => {
    ask('listener', ['inbound/127.0.0.1:80', 'inbound/[::1]:80', 'inbound/127.0.0.1:81']);
    // Sent again in the next answer, so look at what the store gives.
    const served = current().get(TYPE_URLS.listener, 'inbound/[::1]:80', RECEIVER);
    if (served === undefined) throw new Error('no listener');
    expect(unpack<object>(served.body)).toMatchObject({
      name: 'inbound/[::1]:80',
      address: { address: { value: { address: '::1', portSpecifier: { value: 80 } } } },
    });
    expect(current().get(TYPE_URLS.listener, 'inbound/[::1]:80', RECEIVER)).toBe(served);
    expect(current().get(TYPE_URLS.listener, 'inbound/127.0.0.1:81', RECEIVER)).toBeUndefined();
  });
});

describe('pushes', () => {
  beforeEach(() => {
    for (const kind of ['cluster', 'endpoints', 'listener', 'routes'] as const) ask(kind, ['a', 'b']);
  });

  test('only what changed, with the next version of its type', () => {
    load(A.replace(':1"', ':11"'));
    stream.update();
    expect(taken()).toEqual(['endpoints 2: a']);
  });

  test('nothing when nothing changed', () => {
    expect(load(`# comment\n${A}`)).toBe(false);
    stream.update();
    expect(taken()).toEqual([]);
  });

  test('what is referred to comes first', () => {
    load(A.replace('a: {', 'a: { lb: random, timeout: 1s,').replace(':1"', ':11"'));
    stream.update();
    expect(taken()).toEqual(['cluster 2: a b', 'endpoints 2: a', 'routes 2: a']);
  });

  test('a cluster that is gone goes after the routes that led to it', () => {
    load('version: 1\nservices:\n  a: { routes: [{ to: { service: c } }] }\n  b: {}\n  c: {}\n');
    stream.update();
    expect(taken()).toEqual(['endpoints 2: b', 'routes 2: a', 'cluster 2: b']);
  });

  test('a cluster that is gone stays in the answer that brings other changes, until the routes have changed', () => {
    load('version: 1\nservices:\n  a: { routes: [{ to: { service: c } }] }\n  b: { endpoints: ["127.0.0.1:2"], lb: random }\n  c: {}\n');
    stream.update();
    expect(taken()).toEqual(['cluster 2: a b', 'routes 2: a', 'cluster 2: b']);
  });

  test('a listener that is gone is missing from the next full answer', () => {
    load('version: 1\nservices:\n  b: { endpoints: ["127.0.0.1:2"] }\n');
    stream.update();
    expect(taken()).toEqual(['listener 2: b', 'cluster 2: b']);
  });

  test('a NACK is recorded with what was refused, and not answered', () => {
    load(A.replace(':1"', ':11"'));
    stream.update();
    taken();
    expect(
      ask('endpoints', ['a', 'b'], { versionInfo: '1', errorDetail: { code: 3, message: 'bad port' }, node: { id: 'n1', cluster: '' } }),
    ).toEqual([]);
    expect(nacks).toEqual([{ nodeId: 'n1', typeUrl: TYPE_URLS.endpoints, version: '2', message: 'bad port' }]);
  });

  test('paused: nothing, then everything', () => {
    stream.pause();
    load(A.replace(':1"', ':11"'));
    stream.update();
    expect(ask('cluster', ['a', 'b', 'c'])).toEqual([]);
    stream.resume();
    expect(taken()).toEqual(['cluster 1: a b', 'endpoints 2: a']);
  });
});

test('a stream that starts while paused gets its answers on resume', () => {
  stream.pause();
  expect(ask('listener', ['a'])).toEqual([]);
  stream.resume();
  expect(taken()).toEqual(['listener 1: a']);
});
