/** Attributes by the stable semantic conventions (reference node.md §7): names, required ones, and what counts as an error. */
import { describe, expect, test } from 'vitest';
import { endAttributes, errorType, methodOf, spanAttributes, startAttributes } from '../../../src/adapters/opentelemetry/attributes.ts';
import { InboundCall, OutboundCall } from '../../../src/core/call.ts';
import type { RequestHead } from '../../../src/core/call.ts';
import { failure, FAILURES } from '../../../src/core/failure.ts';
import { FakeClock } from '../../../src/testing/index.ts';
import { ScriptedTransport } from '../../support/scripted-transport.ts';
import { requestHead } from '../routing/builders.ts';

const transport = new ScriptedTransport([], new FakeClock());
const out = (head: Partial<Omit<RequestHead, 'headers'>>): OutboundCall =>
  new OutboundCall(requestHead(head), { replayable: true }, transport);
const inbound = (head: Partial<Omit<RequestHead, 'headers'>>, headers = {}): InboundCall =>
  new InboundCall(
    requestHead(head, headers),
    { remoteAddress: '10.0.0.9', remotePort: 1, localAddress: '10.0.0.1', localPort: 2, tls: undefined },
    () => Promise.reject(new Error('unused')),
  );

describe('when a call starts', () => {
  test.each([
    ['default port', out({ authority: 'shop' }), { 'http.request.method': 'GET', 'server.address': 'shop', 'server.port': 80 }],
    [
      'default port of TLS',
      out({ authority: 'shop', scheme: 'https' }),
      { 'http.request.method': 'GET', 'server.address': 'shop', 'server.port': 443 },
    ],
    ['a port', out({ authority: 'shop:8080' }), { 'http.request.method': 'GET', 'server.address': 'shop', 'server.port': 8080 }],
    ['IPv6', out({ authority: '[::1]:8080' }), { 'http.request.method': 'GET', 'server.address': '[::1]', 'server.port': 8080 }],
    [
      'an unknown method',
      out({ authority: 'shop:1', method: 'BREW' }),
      { 'http.request.method': '_OTHER', 'server.address': 'shop', 'server.port': 1 },
    ],
    [
      'gRPC',
      out({ protocol: 'grpc', authority: 'echo:50', path: '/pkg.Echo/Unary' }),
      { 'rpc.system.name': 'grpc', 'rpc.method': 'pkg.Echo/Unary', 'server.address': 'echo', 'server.port': 50 },
    ],
    ['inbound', inbound({ authority: 'shop' }), { 'http.request.method': 'GET', 'server.address': 'shop', 'url.scheme': 'http' }],
    [
      'inbound gRPC',
      inbound({ protocol: 'grpc', authority: 'echo', path: '/a.B/C' }),
      { 'rpc.system.name': 'grpc', 'rpc.method': 'a.B/C', 'server.address': 'echo' },
    ],
  ])('%s', (_name, call, expected) => {
    expect(startAttributes(call)).toEqual(expected);
  });

  test('spans carry the URL, metrics do not', () => {
    expect(spanAttributes(out({ authority: 'shop', path: '/a?b=c' }))).toMatchObject({ 'url.full': 'http://shop/a?b=c' });
    expect(spanAttributes(inbound({ path: '/a?b=c' }, { 'user-agent': 'x/1' }))).toMatchObject({
      'url.path': '/a',
      'url.query': 'b=c',
      'client.address': '10.0.0.9',
      'user_agent.original': 'x/1',
    });
    expect(spanAttributes(inbound({ path: '/a' }))).not.toHaveProperty('url.query');
    expect(spanAttributes(out({ protocol: 'grpc', path: '/a.B/C' }))).not.toHaveProperty('url.full');
    expect(Object.keys(startAttributes(out({ path: '/a' }))).filter((key) => key.startsWith('url.'))).toEqual([]);
  });
});

test.each([
  [false, false, 200, undefined, undefined],
  [false, false, 404, undefined, '404'],
  [false, true, 404, undefined, undefined],
  [false, true, 500, undefined, '500'],
  [true, false, 200, 0, undefined],
  [true, false, 200, 5, 'NOT_FOUND'],
  [true, true, 200, 5, undefined],
  [true, true, 200, 13, 'INTERNAL'],
  [true, true, 200, 4, 'DEADLINE_EXCEEDED'],
])('error.type: grpc %s, server %s, status %d, gRPC status %s: %s', (grpc, server, status, grpcStatus, expected) => {
  expect(errorType(grpc, server, { status, grpcStatus, failure: undefined })).toBe(expected);
  expect(endAttributes(grpc, server, { status, grpcStatus, failure: undefined })['error.type']).toBe(expected);
});

test('a failure of the mesh names itself, with the status that the application saw', () => {
  const failed = failure(FAILURES.noHealthyUpstream, 'x');
  expect(endAttributes(false, false, { status: 503, grpcStatus: 14, failure: failed })).toEqual({
    'http.response.status_code': 503,
    'error.type': 'no_healthy_upstream',
  });
  expect(endAttributes(true, false, { status: 503, grpcStatus: 14, failure: failed })).toEqual({
    'rpc.status_code': 'UNAVAILABLE',
    'error.type': 'no_healthy_upstream',
  });
  expect(endAttributes(false, false, { status: 0, grpcStatus: undefined, failure: failure(FAILURES.remoteDisconnect, 'x') })).toEqual({
    'error.type': 'downstream_remote_disconnect',
  });
  expect(methodOf('GET')).toBe('GET');
});
