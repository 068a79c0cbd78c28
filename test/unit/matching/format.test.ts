import { expect, test } from 'vitest';
import { InboundCall } from '../../../src/core/call.ts';
import type { RequestHead } from '../../../src/core/call.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import { LocalReply } from '../../../src/core/reply.ts';
import { checkFormat, compileFormat } from '../../../src/matching/format.ts';

const head: RequestHead = {
  protocol: 'http',
  method: 'GET',
  scheme: 'https',
  authority: 'shop.test',
  path: '/p?q',
  headers: new HeaderList([
    ['x-a', 'one'],
    ['x-many', 'first'],
    ['x-many', 'second'],
    ['x-list', 'a,b'],
  ]),
};
const peer = {
  remoteAddress: '::1',
  remotePort: 40000,
  localAddress: '127.0.0.1',
  localPort: 80,
  tls: { authenticated: true, uriSans: ['spiffe://td/a'], dnsSans: [], subject: 'CN=a' },
};
const call = new InboundCall(head, peer, () => Promise.reject(new Error('not run')));
const reply = new LocalReply(503, new HeaderList([['x-up', 'v']]), '');
const route = { name: 'r1', cluster: 'c1', virtualHost: 'v1' };

test.each([
  ['plain', 'plain'],
  ['100%%', '100%'],
  ['%REQ(X-A)%', 'one'],
  ['<%REQ(x-none)%>', '<>'],
  ['%REQ(x-none?x-a)%', 'one'],
  ['%REQ(X-A):2%', 'on'],
  ['%REQ(x-many)%', 'first'],
  ['%REQ(x-list)%', 'a,b'],
  ['%REQ(:path)%', '/p?q'],
  ['%REQ(:authority)% %REQ(:method)% %REQ(:scheme)%', 'shop.test GET https'],
  ['%PROTOCOL%', 'HTTP/1.1'],
  ['%UPSTREAM_CLUSTER%/%ROUTE_NAME%', 'c1/r1'],
  ['%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', '::1'],
  ['%DOWNSTREAM_REMOTE_ADDRESS%', '[::1]:40000'],
  ['%DOWNSTREAM_PEER_URI_SAN%', 'spiffe://td/a'],
  ['%RESPONSE_CODE%', '503'],
  ['%RESP(x-up)%', 'v'],
  ['%RESP(x-none)%', ''],
  ['%RESP(:status)%', '503'],
  ['', ''],
])('%j gives %j', (text, expected) => {
  expect(checkFormat(text)).toBeUndefined();
  expect(compileFormat(text)({ call, reply, route })).toBe(expected);
});

test.each([
  '%',
  '50%',
  '%NOPE%',
  '%REQ%',
  '%REQ()%',
  '%REQ(a?b?c)%',
  '%REQ(a?)%',
  '%req(a)%',
  '%START_TIME(%s)%',
  '%PROTOCOL',
  '%REQ(a):x%',
  '%UPSTREAM_METADATA(["a","b"])%',
  '%constructor%',
])('%j is rejected', (text) => {
  expect(checkFormat(text)).toBeTypeOf('string');
  expect(() => compileFormat(text)).toThrow();
});

test('on the request nothing is known of the reply', () => {
  expect(compileFormat('<%RESPONSE_CODE%%RESP(x-up)%>')({ call, reply: undefined, route })).toBe('<>');
});
