/**
 * What an xDS client has to say on a stream: scripts of server messages and the exact requests expected (gRFC A27, A46, A53, A57, A88; Envoy ).
 * Resources are written `name` or `name=text`; a text that begins with `bad` is rejected by the decoder, `mute` has no name.
 */
import type { ResourceKind } from '../../../src/config/resource.ts';
import type { PlainRequest } from '../../unit/xds/fake-control-plane.ts';
import type { CommonStep, Script } from './player.ts';

export type SotwStep =
  /** A message of the server: type, version, nonce, resources. */
  | { readonly server: readonly [ResourceKind | `other:${string}`, string, string, ...string[]] }
  /** As `server`, each resource in an `envoy.service.discovery.v3.Resource`; `name!` is a heartbeat. */
  | { readonly wrapped: readonly [ResourceKind, string, string, ...string[]] }
  /** Every request since the last `client` step. */
  | { readonly client: readonly PlainRequest[] }
  /** CSDS statuses, `kind:name` to status and error. */
  | { readonly status: Readonly<Record<string, readonly [string, string | undefined]>> }
  /** How many streams have been opened so far. */
  | { readonly streams: number };

export type Transcript = Script<SotwStep | CommonStep>;

/** Nodes, names, nonces, the wildcard and the does-not-exist timer. */
export const SUBSCRIPTIONS: readonly Transcript[] = [
  {
    title: 'node in the first request only; ACK with version and nonce of the response; nonces by type',
    steps: [
      { want: 'listener:a' },
      { client: [{ type: 'listener', names: ['a'], node: 'n1' }] },
      { connect: true },
      { server: ['listener', '1', 'n-1', 'a=A'] },
      { client: [{ type: 'listener', version: '1', nonce: 'n-1', names: ['a'] }] },
      { state: { 'listener:a': 'present:A' } },
      { changes: 1 },
      { want: 'listener:a routes:r' },
      { client: [{ type: 'routes', names: ['r'] }] },
      { server: ['routes', '7', 'n-2', 'r=R'] },
      { client: [{ type: 'routes', version: '7', nonce: 'n-2', names: ['r'] }] },
      { server: ['listener', '2', 'n-3', 'a=A2'] },
      { client: [{ type: 'listener', version: '2', nonce: 'n-3', names: ['a'] }] },
      { state: { 'listener:a': 'present:A2', 'routes:r': 'present:R' } },
    ],
  },
  {
    title: 'subscription changes carry the full list and the last nonce; the last unsubscribe sends an empty list with the nonce',
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { server: ['cluster', '1', 'x', 'a'] },
      {
        client: [
          { type: 'cluster', names: ['a'], node: 'n1' },
          { type: 'cluster', version: '1', nonce: 'x', names: ['a'] },
        ],
      },
      { want: 'cluster:a cluster:b' },
      { client: [{ type: 'cluster', version: '1', nonce: 'x', names: ['a', 'b'] }] },
      { want: 'cluster:b' },
      { client: [{ type: 'cluster', version: '1', nonce: 'x', names: ['b'] }] },
      { want: '' },
      { client: [{ type: 'cluster', version: '1', nonce: 'x', names: [] }] },
      { want: '' },
      { client: [] },
      { server: ['cluster', '2', 'y', 'b'] },
      { client: [{ type: 'cluster', version: '2', nonce: 'y', names: [] }] },
    ],
  },
  {
    title: 'a second subscription before the first answer has an empty nonce and version',
    steps: [
      { want: 'endpoints:a' },
      { want: 'endpoints:a endpoints:b' },
      {
        client: [
          { type: 'endpoints', names: ['a'], node: 'n1' },
          { type: 'endpoints', names: ['a', 'b'] },
        ],
      },
    ],
  },
  {
    title: 'reconnect: node again, versions kept, nonces cleared, no request for types without names',
    steps: [
      { want: 'listener:a routes:r cluster:c' },
      { connect: true },
      { server: ['listener', '5', 'l5', 'a=A'] },
      { server: ['routes', '6', 'r6', 'r=bad'] },
      { want: 'listener:a routes:r' },
      { end: [14, 'connection dropped'] },
      { advance: 1000 },
      { streams: 2 },
      {
        client: [
          { type: 'listener', version: '5', names: ['a'], node: 'n1' },
          { type: 'routes', names: ['r'] },
        ],
      },
      { state: { 'listener:a': 'present:A' } },
      { connect: true },
      { server: ['listener', '5', 'l1', 'a=A'] },
      { client: [{ type: 'listener', version: '5', nonce: 'l1', names: ['a'] }] },
    ],
  },
  {
    title: 'wildcard (sidecar view): LDS and CDS without names, every resource taken, absence deletes; RDS by name',
    wildcard: true,
    steps: [
      {
        client: [
          { type: 'listener', names: [], node: 'n1' },
          { type: 'cluster', names: [] },
        ],
      },
      { connect: true },
      { server: ['listener', '1', 'n1', 'l1=A', 'l2=B'] },
      { client: [{ type: 'listener', version: '1', nonce: 'n1', names: [] }] },
      { state: { 'listener:l1': 'present:A', 'listener:l2': 'present:B' } },
      { want: 'listener:l1 routes:80 listener:l9' },
      { client: [{ type: 'routes', names: ['80'] }] },
      { state: { 'listener:l9': 'failed:cp:1 has no listener of this name' } },
      { server: ['listener', '2', 'n2', 'l9=C'] },
      { client: [{ type: 'listener', version: '2', nonce: 'n2', names: [] }] },
      { state: { 'listener:l1': 'present:A', 'listener:l2': 'waiting', 'listener:l9': 'present:C' } },
      { want: 'routes:80 listener:l9' },
      { client: [] },
      { state: { 'listener:l1': 'waiting' } },
      { server: ['listener', '3', 'n3', 'l9=bad'] },
      {
        client: [
          {
            type: 'listener',
            version: '2',
            nonce: 'n3',
            names: [],
            nack: '3: Listener response rejected: resource "l9" at some.field: bad',
          },
        ],
      },
      { end: [14, ''] },
      { advance: 1000 },
      {
        client: [
          { type: 'listener', version: '2', names: [], node: 'n1' },
          { type: 'routes', names: ['80'] },
          { type: 'cluster', names: [] },
        ],
      },
    ],
  },
  {
    title: 'wildcard: a name that was asked for before the first list fails as soon as the list is there without it',
    wildcard: true,
    steps: [
      { want: 'cluster:a cluster:b' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=A'] },
      { state: { 'cluster:a': 'present:A', 'cluster:b': 'failed:cp:1 has no cluster of this name' } },
    ],
  },
  {
    title: 'does not exist: 15 s after the request was sent on a connected stream, never while it is broken; a late arrival revives',
    steps: [
      { want: 'listener:a' },
      { advance: 60_000 },
      { state: { 'listener:a': 'waiting' } },
      { connect: true },
      { advance: 14_999 },
      { state: { 'listener:a': 'waiting' } },
      { changes: 0 },
      { advance: 1 },
      { state: { 'listener:a': 'failed:cp:1 sent no listener of this name within 15 s' } },
      { status: { 'listener:a': ['DOES_NOT_EXIST', 'cp:1 sent no listener of this name within 15 s'] } },
      { changes: 1 },
      { server: ['listener', '1', 'n1', 'a=A'] },
      { state: { 'listener:a': 'present:A' } },
    ],
  },
  {
    title: 'the does-not-exist timer stops with the stream and starts again with the next',
    steps: [
      { want: 'listener:a listener:b' },
      { connect: true },
      { server: ['listener', '1', 'n1', 'a=A'] },
      { advance: 10_000 },
      { end: [14, ''] },
      { advance: 20_000 },
      { state: { 'listener:b': 'waiting' } },
      { connect: true },
      { advance: 14_999 },
      { state: { 'listener:b': 'waiting' } },
      { advance: 1 },
      { state: { 'listener:a': 'present:A', 'listener:b': 'failed:cp:1 sent no listener of this name within 15 s' } },
    ],
  },
  {
    title: 'a timer for a name added later runs from its own request; unsubscribing stops it',
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { advance: 10_000 },
      { want: 'cluster:a cluster:b' },
      { advance: 5_000 },
      { state: { 'cluster:a': 'failed:cp:1 sent no cluster of this name within 15 s', 'cluster:b': 'waiting' } },
      { want: 'cluster:a' },
      { changes: 1 },
      { advance: 60_000 },
      { changes: 0 },
      { want: 'cluster:a cluster:b' },
      { state: { 'cluster:b': 'waiting' } },
    ],
  },
  {
    title: 'resource_timer_is_transient_error: 30 s, status TIMEOUT (gRFC A88)',
    features: ['resource_timer_is_transient_error'],
    steps: [
      { want: 'listener:a' },
      { connect: true },
      { advance: 29_999 },
      { state: { 'listener:a': 'waiting' } },
      { advance: 1 },
      { status: { 'listener:a': ['TIMEOUT', 'cp:1 sent no listener of this name within 30 s'] } },
    ],
  },
  {
    title: 'xdstp names: context parameters in any order mean the same resource',
    steps: [
      { want: 'listener:xdstp://known/envoy.config.listener.v3.Listener/x?b=2&a=1' },
      { client: [{ type: 'listener', names: ['xdstp://known/envoy.config.listener.v3.Listener/x?a=1&b=2'], node: 'n1' }] },
      { connect: true },
      { server: ['listener', '1', 'n1', 'xdstp://known/envoy.config.listener.v3.Listener/x?b=2&a=1'] },
      { state: { 'listener:xdstp://known/envoy.config.listener.v3.Listener/x?b=2&a=1': 'present:' } },
    ],
  },
];
