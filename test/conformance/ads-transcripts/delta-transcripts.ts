/**
 * What an incremental xDS client has to say on a stream: scripts of server messages and the exact requests expected (Envoy to
 * xRFC TP3; gRFC A88). A resource is written `name@version=text`; without `=text` it has no body.
 */
import type { ResourceKind } from '../../../src/config/resource.ts';
import type { PlainDelta } from '../../unit/xds/fake-control-plane.ts';
import type { CommonStep, Script } from './player.ts';

export type DeltaStep =
  /** Type, nonce, resources; a text that begins with `-` is a removed name, one with `~` an error: `~name:code:message`. */
  | { readonly server: readonly [ResourceKind, string, ...string[]] }
  | { readonly client: readonly PlainDelta[] }
  | { readonly status: Readonly<Record<string, string | undefined>> }
  /** All names of a type that are accepted. */
  | { readonly names: readonly [ResourceKind, ...string[]] };

export type DeltaTranscript = Script<DeltaStep | CommonStep>;

export const DELTA_TRANSCRIPTS: readonly DeltaTranscript[] = [
  {
    title: 'X-30: node once; a spontaneous subscription has no nonce, an ACK has the nonce and no names',
    steps: [
      { want: 'listener:a' },
      { client: [{ type: 'listener', sub: ['a'], node: 'n1' }] },
      { connect: true },
      { server: ['listener', 'n-1', 'a@1=A'] },
      { client: [{ type: 'listener', nonce: 'n-1' }] },
      { state: { 'listener:a': 'present:A' } },
      { want: 'listener:a listener:b routes:r' },
      {
        client: [
          { type: 'listener', sub: ['b'] },
          { type: 'routes', sub: ['r'] },
        ],
      },
      { want: 'listener:b' },
      {
        client: [
          { type: 'listener', unsub: ['a'] },
          { type: 'routes', unsub: ['r'] },
        ],
      },
      { changes: 1 },
    ],
  },
  {
    title: 'X-32: after a reconnect all names again, with the versions of what is cached; what is awaited or was removed has none',
    steps: [
      { want: 'cluster:a cluster:b cluster:c cluster:d' },
      { connect: true },
      { server: ['cluster', 'n1', 'a@1=A', 'b@7=B', 'c@2=C'] },
      { server: ['cluster', 'n2', '-c'] },
      {
        client: [
          { type: 'cluster', sub: ['a', 'b', 'c', 'd'], node: 'n1' },
          { type: 'cluster', nonce: 'n1' },
          { type: 'cluster', nonce: 'n2' },
        ],
      },
      { end: [14, 'dropped'] },
      { advance: 1000 },
      { client: [{ type: 'cluster', sub: ['a', 'b', 'c', 'd'], initial: { a: '1', b: '7' }, node: 'n1' }] },
      { connect: true },
      { server: ['cluster', 'm1', 'b@8=B2'] },
      { client: [{ type: 'cluster', nonce: 'm1' }] },
      { want: 'cluster:a cluster:e' },
      { client: [{ type: 'cluster', sub: ['e'], unsub: ['b', 'c', 'd'] }] },
    ],
  },
  {
    title:
      'X-34: a removed resource of a named subscription keeps its value by default (gRFC A88), and the identical one that comes back is no news',
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { server: ['cluster', 'n1', 'a@1=A'] },
      { changes: 1 },
      { server: ['cluster', 'n2', '-a'] },
      { state: { 'cluster:a': 'present:A' } },
      { status: { 'cluster:a': 'DOES_NOT_EXIST' } },
      { server: ['cluster', 'n3', 'a@1=A'] },
      { status: { 'cluster:a': 'ACKED' } },
      { changes: 0 },
    ],
  },
  {
    title: 'X-34 with fail_on_data_errors: removal is told; remove then add of the identical resource delivers it',
    features: ['fail_on_data_errors'],
    steps: [
      { want: 'endpoints:a' },
      { connect: true },
      { server: ['endpoints', 'n1', 'a@1=A'] },
      { server: ['endpoints', 'n2', '-a'] },
      { state: { 'endpoints:a': 'failed:deleted by cp:1' } },
      { changes: 2 },
      { server: ['endpoints', 'n3', 'a@1=A'] },
      { state: { 'endpoints:a': 'present:A' } },
      { changes: 1 },
    ],
  },
  {
    title: 'X-34: a removal of what never came says that it does not exist, without waiting for the timer',
    steps: [
      { want: 'endpoints:a' },
      { connect: true },
      { server: ['endpoints', 'n1', '-a'] },
      { state: { 'endpoints:a': 'failed:cp:1 has no endpoints of this name' } },
      { server: ['endpoints', 'n2', 'a@1=A'] },
      { state: { 'endpoints:a': 'present:A' } },
    ],
  },
  {
    title: 'gRFC A57: without any answer the timer decides',
    steps: [
      { want: 'endpoints:a' },
      { connect: true },
      { advance: 14_999 },
      { state: { 'endpoints:a': 'waiting' } },
      { advance: 1 },
      { state: { 'endpoints:a': 'failed:cp:1 sent no endpoints of this name within 15 s' } },
    ],
  },
  {
    title: 'X-38: a name twice, or added and removed at once, is refused; the first counts',
    steps: [
      { want: 'cluster:a cluster:b' },
      { connect: true },
      { server: ['cluster', 'n1', 'a@1=A', 'a@2=A2', 'b@1=B', '-b'] },
      {
        client: [
          { type: 'cluster', sub: ['a', 'b'], node: 'n1' },
          {
            type: 'cluster',
            nonce: 'n1',
            nack: '3: Cluster response rejected: resource "a": is more than once in the response;\nresource "b": is more than once in the response',
          },
        ],
      },
      { state: { 'cluster:a': 'present:A', 'cluster:b': 'present:B' } },
    ],
  },
  {
    title: 'gRFC A46: the good resources of a refused response apply, the bad one keeps value and version',
    steps: [
      { want: 'cluster:a cluster:b' },
      { connect: true },
      { server: ['cluster', 'n1', 'a@1=A', 'b@1=B'] },
      { server: ['cluster', 'n2', 'a@2=bad', 'b@2=B2'] },
      {
        client: [
          { type: 'cluster', sub: ['a', 'b'], node: 'n1' },
          { type: 'cluster', nonce: 'n1' },
          { type: 'cluster', nonce: 'n2', nack: '3: Cluster response rejected: resource "a" at some.field: bad' },
        ],
      },
      { state: { 'cluster:a': 'present:A', 'cluster:b': 'present:B2' } },
      { status: { 'cluster:a': 'NACKED' } },
      { end: [14, ''] },
      { advance: 1000 },
      { client: [{ type: 'cluster', sub: ['a', 'b'], initial: { a: '1', b: '2' }, node: 'n1' }] },
    ],
  },
  {
    title: 'X-39: a client without a wildcard ignores what it did not ask for, and acknowledges',
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { server: ['cluster', 'n1', 'x@1=X', '-y'] },
      {
        client: [
          { type: 'cluster', sub: ['a'], node: 'n1' },
          { type: 'cluster', nonce: 'n1' },
        ],
      },
      { state: { 'cluster:x': 'waiting' } },
      { changes: 0 },
    ],
  },
  {
    title: 'X-50, X-53: the wildcard is a first request without names, also after a reconnect; names are never sent',
    wildcard: true,
    steps: [
      {
        client: [{ type: 'listener', node: 'n1' }, { type: 'cluster' }],
      },
      { connect: true },
      { server: ['cluster', 'n1', 'a@1=A', 'b@1=B'] },
      { client: [{ type: 'cluster', nonce: 'n1' }] },
      { want: 'cluster:a' },
      { client: [] },
      { server: ['cluster', 'n2', '-b', '-a'] },
      { client: [{ type: 'cluster', nonce: 'n2' }] },
      { names: ['cluster'] },
      { state: { 'cluster:a': 'present:A', 'cluster:b': 'waiting' } },
      { server: ['cluster', 'n3', 'b@2=B2'] },
      { end: [14, ''] },
      { advance: 1000 },
      {
        client: [
          { type: 'listener', node: 'n1' },
          { type: 'cluster', initial: { b: '2' } },
        ],
      },
    ],
  },
  {
    title:
      'X-32: what the server was not told of after a reconnect, and does not send, is gone; an error for a resource says that it is there',
    wildcard: true,
    steps: [
      { connect: true },
      { server: ['cluster', 'n1', 'a@1=A', 'never@1=bad', 'denied@1=D'] },
      { server: ['cluster', 'n2', '~denied:14:not now'] },
      { status: { 'cluster:a': 'ACKED', 'cluster:never': 'NACKED', 'cluster:denied': 'RECEIVED_ERROR' } },
      { end: [14, ''] },
      { advance: 1000 },
      {
        client: [
          { type: 'listener', node: 'n1' },
          { type: 'cluster', initial: { a: '1' } },
        ],
      },
      { connect: true },
      { server: ['cluster', 'n3', '~denied:14:not now'] },
      { status: { 'cluster:a': 'ACKED', 'cluster:never': undefined, 'cluster:denied': 'RECEIVED_ERROR' } },
      { state: { 'cluster:denied': 'present:D' } },
      { end: [14, ''] },
      { advance: 1000 },
      { connect: true },
      { server: ['cluster', 'n4'] },
      { status: { 'cluster:a': 'ACKED', 'cluster:denied': undefined } },
    ],
  },
  {
    title: 'a wildcard that was answered settles what is asked for by name: it does not exist',
    wildcard: true,
    steps: [
      { want: 'cluster:z' },
      { connect: true },
      { state: { 'cluster:z': 'waiting' } },
      { server: ['cluster', 'n1', 'a@1=A'] },
      { state: { 'cluster:z': 'failed:cp:1 has no cluster of this name' } },
      { want: 'cluster:y cluster:z' },
      { state: { 'cluster:y': 'failed:cp:1 has no cluster of this name' } },
    ],
  },
  {
    title: 'X-40: a resource that answers to another name; an alias that leads nowhere is no error',
    steps: [
      { want: 'endpoints:alias endpoints:none' },
      { connect: true },
      { server: ['endpoints', 'n1', 'real@1=R|alias', 'gone@1|none'] },
      {
        client: [
          { type: 'endpoints', sub: ['alias', 'none'], node: 'n1' },
          { type: 'endpoints', nonce: 'n1' },
        ],
      },
      { state: { 'endpoints:alias': 'present:R', 'endpoints:none': 'failed:cp:1 has no endpoints of this name' } },
    ],
  },
  {
    title: 'X-40: a resource that has its own name among its aliases is there once',
    steps: [
      { want: 'endpoints:a' },
      { connect: true },
      { server: ['endpoints', 'n1', 'a@1=A|a'] },
      {
        client: [
          { type: 'endpoints', sub: ['a'], node: 'n1' },
          { type: 'endpoints', nonce: 'n1' },
        ],
      },
      { state: { 'endpoints:a': 'present:A' } },
    ],
  },
  {
    title: 'X-70 to X-72: a time to live ends unless a heartbeat of the same version renews it; a delivery without one clears it',
    steps: [
      { want: 'endpoints:a endpoints:b' },
      { connect: true },
      { server: ['endpoints', 'n1', 'a@1=A%5000', 'b@1=B%5000'] },
      { advance: 4000 },
      { server: ['endpoints', 'n2', 'a@1%5000', 'b@9%5000'] },
      { changes: 1 },
      { advance: 1000 },
      {
        state: {
          'endpoints:a': 'present:A',
          'endpoints:b': 'failed:its time to live of 5000 ms has passed, and cp:1 did not renew it',
        },
      },
      { changes: 1 },
      { server: ['endpoints', 'n3', 'a@1=A', 'b@1=B%5000'] },
      { state: { 'endpoints:b': 'present:B' } },
      { advance: 10_000 },
      { state: { 'endpoints:a': 'present:A' } },
    ],
  },
  {
    title: 'xRFC TP3: an error for one resource ends the wait; a transient one keeps what is cached, as a data error does by default',
    steps: [
      { want: 'endpoints:a endpoints:b' },
      { connect: true },
      { server: ['endpoints', 'n1', 'a@1=A', '~b:5:no such thing'] },
      { state: { 'endpoints:a': 'present:A', 'endpoints:b': 'failed:cp:1: NOT_FOUND: no such thing' } },
      { status: { 'endpoints:b': 'RECEIVED_ERROR' } },
      { server: ['endpoints', 'n2', '~a:14:overloaded'] },
      { state: { 'endpoints:a': 'present:A' } },
      { status: { 'endpoints:a': 'RECEIVED_ERROR' } },
      { server: ['endpoints', 'n3', '~a:7:not for you'] },
      { state: { 'endpoints:a': 'present:A' } },
    ],
  },
  {
    title: 'xRFC TP3 with fail_on_data_errors: NOT_FOUND and PERMISSION_DENIED drop the value, UNAVAILABLE does not',
    features: ['fail_on_data_errors'],
    steps: [
      { want: 'endpoints:a' },
      { connect: true },
      { server: ['endpoints', 'n1', 'a@1=A'] },
      { server: ['endpoints', 'n2', '~a:14:overloaded'] },
      { state: { 'endpoints:a': 'present:A' } },
      { server: ['endpoints', 'n3', '~a:7:not for you'] },
      { state: { 'endpoints:a': 'failed:cp:1: PERMISSION_DENIED: not for you' } },
    ],
  },
  {
    title: 'X-61: members of a collection come without being asked for one by one, and go with it',
    steps: [
      { want: 'cluster:xdstp://known/envoy.config.cluster.v3.Cluster/foo/*' },
      { client: [{ type: 'cluster', sub: ['xdstp://known/envoy.config.cluster.v3.Cluster/foo/*'], node: 'n1' }] },
      { connect: true },
      {
        server: [
          'cluster',
          'n1',
          'xdstp://known/envoy.config.cluster.v3.Cluster/foo/a@1=A',
          'xdstp://known/envoy.config.cluster.v3.Cluster/bar/b@1=B',
        ],
      },
      {
        state: {
          'cluster:xdstp://known/envoy.config.cluster.v3.Cluster/foo/a': 'present:A',
          'cluster:xdstp://known/envoy.config.cluster.v3.Cluster/bar/b': 'waiting',
        },
      },
      { server: ['cluster', 'n2', '-xdstp://known/envoy.config.cluster.v3.Cluster/foo/a'] },
      { state: { 'cluster:xdstp://known/envoy.config.cluster.v3.Cluster/foo/a': 'waiting' } },
    ],
  },
];
