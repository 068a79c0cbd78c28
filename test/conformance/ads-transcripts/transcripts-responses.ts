/** As `transcripts.ts`: what becomes of good, bad, absent and repeated resources, and how it is answered (gRFC A46, A88; Envoy ). */
import type { Transcript } from './transcripts.ts';

export const RESPONSES: readonly Transcript[] = [
  {
    title: 'a bad resource is NACKed by name and field; the good ones of the response apply, the old value stays',
    steps: [
      { want: 'cluster:a cluster:b cluster:c' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=A', 'b=B', 'c=C'] },
      { changes: 1 },
      { server: ['cluster', '2', 'n2', 'a=bad a', 'b=B2', 'c=bad c'] },
      {
        client: [
          { type: 'cluster', names: ['a', 'b', 'c'], node: 'n1' },
          { type: 'cluster', version: '1', nonce: 'n1', names: ['a', 'b', 'c'] },
          {
            type: 'cluster',
            version: '1',
            nonce: 'n2',
            names: ['a', 'b', 'c'],
            nack: '3: Cluster response rejected: resource "a" at some.field: bad a;\nresource "c" at some.field: bad c',
          },
        ],
      },
      { state: { 'cluster:a': 'present:A', 'cluster:b': 'present:B2', 'cluster:c': 'present:C' } },
      { status: { 'cluster:a': ['NACKED', 'cluster "a" at some.field: bad a'], 'cluster:b': ['ACKED', undefined] } },
      { changes: 1 },
      { server: ['cluster', '3', 'n3', 'a=A', 'b=B2', 'c=C'] },
      { client: [{ type: 'cluster', version: '3', nonce: 'n3', names: ['a', 'b', 'c'] }] },
      { status: { 'cluster:a': ['ACKED', undefined], 'cluster:c': ['ACKED', undefined] } },
      { changes: 0 },
    ],
  },
  {
    title: 'the first response is bad: NACK without a version, the resource fails with the reason',
    steps: [
      { want: 'routes:r' },
      { connect: true },
      { server: ['routes', '1', 'n1', 'r=bad regex'] },
      {
        client: [
          { type: 'routes', names: ['r'], node: 'n1' },
          {
            type: 'routes',
            nonce: 'n1',
            names: ['r'],
            nack: '3: RouteConfiguration response rejected: resource "r" at some.field: bad regex',
          },
        ],
      },
      { state: { 'routes:r': 'failed:routes "r" at some.field: bad regex' } },
      { server: ['routes', '2', 'n2', 'r=R'] },
      { client: [{ type: 'routes', version: '2', nonce: 'n2', names: ['r'] }] },
      { state: { 'routes:r': 'present:R' } },
    ],
  },
  {
    title: 'fail_on_data_errors: a rejected resource loses its old value (gRFC A88)',
    features: ['fail_on_data_errors'],
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=A'] },
      { server: ['cluster', '2', 'n2', 'a=bad'] },
      { state: { 'cluster:a': 'failed:cluster "a" at some.field: bad' } },
      { server: ['cluster', '3', 'n3', 'a=A'] },
      { state: { 'cluster:a': 'present:A' } },
    ],
  },
  {
    title: 'LDS: a name that is absent keeps its value by default (gRFC A88), and is news to nobody when it comes back unchanged',
    steps: [
      { want: 'listener:a listener:b' },
      { connect: true },
      { server: ['listener', '1', 'n1', 'a=A', 'b=B'] },
      { server: ['listener', '2', 'n2', 'b=B'] },
      { state: { 'listener:a': 'present:A' } },
      { status: { 'listener:a': ['DOES_NOT_EXIST', 'deleted by cp:1, its last value stays in use'] } },
      { changes: 1 },
      { server: ['listener', '3', 'n3', 'a=A', 'b=B'] },
      { status: { 'listener:a': ['ACKED', undefined] } },
      { changes: 0 },
    ],
  },
  {
    title: 'CDS with fail_on_data_errors: deletion is told; the identical resource, added again, is delivered',
    features: ['fail_on_data_errors'],
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=A'] },
      { server: ['cluster', '2', 'n2'] },
      { state: { 'cluster:a': 'failed:deleted by cp:1' } },
      { changes: 2 },
      { server: ['cluster', '3', 'n3', 'a=A'] },
      { state: { 'cluster:a': 'present:A' } },
      { changes: 1 },
    ],
  },
  {
    title: 'RDS and EDS: absence means unchanged, also in an empty response',
    features: ['fail_on_data_errors'],
    steps: [
      { want: 'endpoints:a endpoints:b' },
      { connect: true },
      { server: ['endpoints', '1', 'n1', 'a=A', 'b=B'] },
      { server: ['endpoints', '2', 'n2', 'a=A2'] },
      { server: ['endpoints', '3', 'n3'] },
      { state: { 'endpoints:a': 'present:A2', 'endpoints:b': 'present:B' } },
      { changes: 2 },
    ],
  },
  {
    title: 'a complete list that was sent before a new name was asked for deletes nothing that was never there',
    features: ['fail_on_data_errors'],
    steps: [
      { want: 'listener:a' },
      { connect: true },
      { want: 'listener:a listener:b' },
      { server: ['listener', '1', 'n1', 'a=A'] },
      { state: { 'listener:a': 'present:A', 'listener:b': 'waiting' } },
    ],
  },
  {
    title: 'an unreadable entry makes a top-level error; siblings apply, and nothing counts as deleted',
    features: ['fail_on_data_errors'],
    steps: [
      { want: 'listener:a listener:b' },
      { connect: true },
      { server: ['listener', '1', 'n1', 'a=A', 'b=B'] },
      { server: ['listener', '2', 'n2', 'a=A2', 'x=mute'] },
      {
        client: [
          { type: 'listener', names: ['a', 'b'], node: 'n1' },
          { type: 'listener', version: '1', nonce: 'n1', names: ['a', 'b'] },
          {
            type: 'listener',
            version: '1',
            nonce: 'n2',
            names: ['a', 'b'],
            nack: '3: Listener response rejected: resources[1]: cannot be read (mute)',
          },
        ],
      },
      { state: { 'listener:a': 'present:A2', 'listener:b': 'present:B' } },
    ],
  },
  {
    title: 'a resource of another type than its response is an error',
    steps: [
      { want: 'routes:a' },
      { connect: true },
      { server: ['routes', '1', 'n1', 'cluster!a'] },
      {
        client: [
          { type: 'routes', names: ['a'], node: 'n1' },
          {
            type: 'routes',
            nonce: 'n1',
            names: ['a'],
            nack: '3: RouteConfiguration response rejected: resources[0]: type is "type.googleapis.com/envoy.config.cluster.v3.Cluster", expected "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"',
          },
        ],
      },
      { state: { 'routes:a': 'waiting' } },
    ],
  },
  {
    title: 'a name that comes twice is an error; the first of them applies (Envoy X-20)',
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=A', 'a=B'] },
      {
        client: [
          { type: 'cluster', names: ['a'], node: 'n1' },
          {
            type: 'cluster',
            nonce: 'n1',
            names: ['a'],
            nack: '3: Cluster response rejected: resource "a": is more than once in the response',
          },
        ],
      },
      { state: { 'cluster:a': 'present:A' } },
    ],
  },
  {
    title: 'resources that nobody asked for are ignored, even bad ones, and the response is ACKed',
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=A', 'z=bad', 'y=Y'] },
      {
        client: [
          { type: 'cluster', names: ['a'], node: 'n1' },
          { type: 'cluster', version: '1', nonce: 'n1', names: ['a'] },
        ],
      },
      { state: { 'cluster:y': 'waiting' } },
    ],
  },
  {
    title: 'an unknown type, and a type never asked for, get neither ACK nor NACK',
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { client: [{ type: 'cluster', names: ['a'], node: 'n1' }] },
      { server: ['other:type.googleapis.com/envoy.Unknown', '1', 'n1'] },
      { server: ['listener', '1', 'n2', 'a=A'] },
      { client: [] },
      { server: ['cluster', '1', 'n3', 'a=A'] },
      { client: [{ type: 'cluster', version: '1', nonce: 'n3', names: ['a'] }] },
    ],
  },
  {
    title: 'resources in the Resource wrapper are unwrapped; a heartbeat keeps the resource',
    features: ['fail_on_data_errors'],
    steps: [
      { want: 'listener:a listener:b' },
      { connect: true },
      { wrapped: ['listener', '1', 'n1', 'a=A', 'b=B'] },
      { state: { 'listener:a': 'present:A' } },
      { wrapped: ['listener', '1', 'n2', 'a!', 'b=B2'] },
      { state: { 'listener:a': 'present:A', 'listener:b': 'present:B2' } },
      { wrapped: ['listener', '2', 'n3', 'a=bad', 'b=B2'] },
      {
        client: [
          { type: 'listener', names: ['a', 'b'], node: 'n1' },
          { type: 'listener', version: '1', nonce: 'n1', names: ['a', 'b'] },
          { type: 'listener', version: '1', nonce: 'n2', names: ['a', 'b'] },
          {
            type: 'listener',
            version: '1',
            nonce: 'n3',
            names: ['a', 'b'],
            nack: '3: Listener response rejected: resource "a" at some.field: bad',
          },
        ],
      },
    ],
  },
  {
    title: 'a decoder that throws costs its resource, not the stream',
    steps: [
      { want: 'cluster:a cluster:b' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=throw', 'b=B'] },
      {
        client: [
          { type: 'cluster', names: ['a', 'b'], node: 'n1' },
          {
            type: 'cluster',
            nonce: 'n1',
            names: ['a', 'b'],
            nack: '3: Cluster response rejected: resource "a": cannot be decoded: fault in the decoder',
          },
        ],
      },
      { state: { 'cluster:b': 'present:B' } },
    ],
  },
  {
    title: 'NACK storm: the same rejected response, sent again at once, is NACKed in growing pauses; anything new at once',
    steps: [
      { want: 'cluster:a cluster:b' },
      { connect: true },
      { client: [{ type: 'cluster', names: ['a', 'b'], node: 'n1' }] },
      { server: ['cluster', '0', 'n-1', 'a=bad'] },
      { server: ['cluster', '1', 'n1', 'a=bad', 'b=B'] },
      {
        client: [
          { type: 'cluster', nonce: 'n-1', names: ['a', 'b'], nack: '3: Cluster response rejected: resource "a" at some.field: bad' },
          { type: 'cluster', nonce: 'n1', names: ['a', 'b'], nack: '3: Cluster response rejected: resource "a" at some.field: bad' },
        ],
      },
      { server: ['cluster', '1', 'n2', 'b=B', 'a=bad'] },
      { advance: 199 },
      { client: [] },
      { advance: 1 },
      {
        client: [
          { type: 'cluster', nonce: 'n2', names: ['a', 'b'], nack: '3: Cluster response rejected: resource "a" at some.field: bad' },
        ],
      },
      { server: ['cluster', '1', 'n3', 'a=bad', 'b=B'] },
      { advance: 319 },
      { client: [] },
      { advance: 1 },
      {
        client: [
          { type: 'cluster', nonce: 'n3', names: ['a', 'b'], nack: '3: Cluster response rejected: resource "a" at some.field: bad' },
        ],
      },
      { server: ['cluster', '2', 'n4', 'a=A', 'b=B'] },
      { client: [{ type: 'cluster', version: '2', nonce: 'n4', names: ['a', 'b'] }] },
    ],
  },
  {
    title: 'NACK storm: the order of the resources makes no difference',
    steps: [
      { want: 'cluster:a cluster:b' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=bad 1', 'b=bad 2'] },
      { server: ['cluster', '1', 'n2', 'b=bad 2', 'a=bad 1'] },
      {
        client: [
          { type: 'cluster', names: ['a', 'b'], node: 'n1' },
          {
            type: 'cluster',
            nonce: 'n1',
            names: ['a', 'b'],
            nack: '3: Cluster response rejected: resource "a" at some.field: bad 1;\nresource "b" at some.field: bad 2',
          },
        ],
      },
    ],
  },
  {
    title: 'resources whose name does not come first in their bytes are treated alike: twice, unasked, unchanged',
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=late 1', 'a=late 2', 'z=late'] },
      {
        client: [
          { type: 'cluster', names: ['a'], node: 'n1' },
          {
            type: 'cluster',
            nonce: 'n1',
            names: ['a'],
            nack: '3: Cluster response rejected: resource "a": is more than once in the response',
          },
        ],
      },
      { state: { 'cluster:a': 'present:late 1', 'cluster:z': 'waiting' } },
      { server: ['cluster', '2', 'n2', 'a=late 1'] },
      { client: [{ type: 'cluster', version: '2', nonce: 'n2', names: ['a'] }] },
    ],
  },
  {
    title: 'a NACK that is held back goes with a change of names, or before the next response, and only once',
    steps: [
      { want: 'cluster:a' },
      { connect: true },
      { server: ['cluster', '1', 'n1', 'a=bad'] },
      { server: ['cluster', '1', 'n2', 'a=bad'] },
      {
        client: [
          { type: 'cluster', names: ['a'], node: 'n1' },
          { type: 'cluster', nonce: 'n1', names: ['a'], nack: '3: Cluster response rejected: resource "a" at some.field: bad' },
        ],
      },
      { want: 'cluster:a cluster:b' },
      {
        client: [
          { type: 'cluster', nonce: 'n2', names: ['a', 'b'], nack: '3: Cluster response rejected: resource "a" at some.field: bad' },
        ],
      },
      { server: ['cluster', '1', 'n3', 'a=bad'] },
      { server: ['cluster', '1', 'n4', 'a=bad'] },
      {
        client: [
          { type: 'cluster', nonce: 'n3', names: ['a', 'b'], nack: '3: Cluster response rejected: resource "a" at some.field: bad' },
        ],
      },
      { advance: 10_000 },
      {
        client: [
          { type: 'cluster', nonce: 'n4', names: ['a', 'b'], nack: '3: Cluster response rejected: resource "a" at some.field: bad' },
        ],
      },
    ],
  },
];
