import { describe, expect, test } from 'vitest';
import type { RouteEntryConfig } from '../../../src/config/routes.ts';
import { Attempt, InboundCall, OutboundCall } from '../../../src/core/call.ts';
import type { Endpoint } from '../../../src/core/endpoint.ts';
import { stack } from '../../../src/core/handler.ts';
import type { Reply } from '../../../src/core/reply.ts';
import { LocalReply } from '../../../src/core/reply.ts';
import type { Transport } from '../../../src/core/transport.ts';
import { answer } from '../../../src/routing/answer.ts';
import { mutateHeaders } from '../../../src/routing/mutate-headers.ts';
import { rewriteHostPerAttempt } from '../../../src/routing/rewrite.ts';
import { forward, headerValue, mutation, requestHead, route, where } from './builders.ts';

const transport: Transport = {
  name: 'none',
  connect: () => {
    throw new Error('not connected here');
  },
};
const callOf = (protocol: 'http' | 'grpc' = 'http', headers: Record<string, string> = {}): OutboundCall =>
  new OutboundCall(requestHead({ protocol }, headers), { replayable: true }, transport);
const handlerOf = (entry: RouteEntryConfig) => {
  const handler = answer(where(entry));
  const mutate = mutateHeaders(where(entry));
  if (handler === undefined) throw new Error('no answer');
  return stack(mutate === undefined ? [] : [mutate], handler);
};
const ask = (entry: RouteEntryConfig, call = callOf()): Promise<Reply> => handlerOf(entry).handle(call);
const textOf = (reply: Reply): string => (reply instanceof LocalReply ? reply.body.text : '');

describe('answers', () => {
  test('a forwarding route has none', () => expect(answer(where(route()))).toBeUndefined());

  test('direct response: status, body, text/plain', async () => {
    const reply = await ask(route({ action: { kind: 'direct-response', status: 418, body: 'teapot' } }));
    expect([reply.status, textOf(reply), reply.headers.get('content-type'), reply.failure]).toEqual([
      418,
      'teapot',
      'text/plain',
      undefined,
    ]);
    const empty = await ask(route({ action: { kind: 'direct-response', status: 204, body: '' } }));
    expect([...empty.headers.entries()]).toEqual([]);
  });

  test.each([
    ['append', 'text/plain,text/html'],
    ['overwrite', 'text/html'],
  ] as const)('header mutation applies: %s of content-type (R-53, R-104)', async (action, expected) => {
    const headers = mutation({ responseAdd: [headerValue('content-type', 'text/html', action)] });
    const handler = handlerOf(route({ headers, action: { kind: 'direct-response', status: 200, body: 'x' } }));
    expect((await handler.handle(callOf())).headers.get('content-type')).toBe(expected);
    // Replies are not shared between calls.
    expect((await handler.handle(callOf())).headers.get('content-type')).toBe(expected);
  });

  test('require_tls redirects are 301', async () => {
    const reply = await ask(
      route({
        action: {
          kind: 'redirect',
          status: 301,
          scheme: undefined,
          httpsRedirect: true,
          host: undefined,
          port: undefined,
          path: undefined,
          stripQuery: false,
        },
      }),
    );
    expect([reply.status, reply.headers.get('location'), textOf(reply)]).toEqual([301, 'https://shop.test/', '']);
  });

  test.each<[string, RouteEntryConfig['action'], 'http' | 'grpc']>([
    ['non_forwarding_action over HTTP (peer defect 6)', { kind: 'serve' }, 'http'],
    ['non_forwarding_action over gRPC (peer defect 6)', { kind: 'serve' }, 'grpc'],
    ['an action that is not supported', { kind: 'unsupported', reason: 'filter_action' }, 'http'],
    ['direct response over gRPC (gRFC A28)', { kind: 'direct-response', status: 200, body: 'x' }, 'grpc'],
    [
      'redirect over gRPC (gRFC A28)',
      {
        kind: 'redirect',
        status: 302,
        scheme: 'https',
        httpsRedirect: false,
        host: undefined,
        port: undefined,
        path: undefined,
        stripQuery: false,
      },
      'grpc',
    ],
  ])('%s fails with UNAVAILABLE and says why', async (_name, action, protocol) => {
    const reply = await ask(route({ name: 'odd', action }), callOf(protocol));
    expect([reply.status, reply.grpcStatus, reply.failure?.kind.flag]).toEqual([503, 14, 'NC']);
    expect(reply.failure?.message).toContain('route "odd" of virtual host "vh" cannot be used');
  });

  test('an inbound call is answered as well', async () => {
    const peer = { remoteAddress: '1.1.1.1', remotePort: 1, localAddress: '1.1.1.2', localPort: 2, tls: undefined };
    const call = new InboundCall(requestHead(), peer, () => Promise.reject(new Error('the application must not run')));
    expect((await handlerOf(route({ action: { kind: 'direct-response', status: 200, body: 'x' } })).handle(call)).status).toBe(200);
  });
});

describe('auto_host_rewrite', () => {
  const layer = rewriteHostPerAttempt(where(route({ action: forward({ hostRewrite: { kind: 'auto' }, appendXForwardedHost: true }) })));
  const attemptTo = (call: OutboundCall, number: number, hostname: string): void => {
    const attempt = new Attempt(call, number);
    attempt.endpoint = { hostname } as Endpoint;
    expect(layer?.step?.enter(attempt)).toBeUndefined();
  };

  test("each attempt takes its endpoint's hostname; the application's host is kept once", () => {
    const call = callOf();
    attemptTo(call, 1, 'a.internal');
    expect(call.head.authority).toBe('a.internal');
    attemptTo(call, 2, 'b.internal');
    expect(call.head.authority).toBe('b.internal');
    expect([call.head.headers.get('x-forwarded-host'), call.head.headers.get('x-envoy-original-host')]).toEqual(['shop.test', 'shop.test']);
  });

  test('an endpoint without a hostname changes nothing', () => {
    const call = callOf();
    attemptTo(call, 1, '');
    expect(call.head.authority).toBe('shop.test');
    expect([...call.head.headers.entries()]).toEqual([]);
  });

  test('routes without it have no such layer', () => {
    expect(rewriteHostPerAttempt(where(route()))).toBeUndefined();
    expect(rewriteHostPerAttempt(where(route({ action: forward({ hostRewrite: { kind: 'literal', value: 'x' } }) })))).toBeUndefined();
  });
});
