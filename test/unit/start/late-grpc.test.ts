/** Where a bare connection tells whether a control plane can be reached, and where only grpc-js knows. */
import { expect, test } from 'vitest';
import { listenAddress } from '../../../src/late-grpc.ts';

test.each([
  ['127.0.0.1:18000', { host: '127.0.0.1', port: 18000 }],
  ['[::1]:18000', { host: '::1', port: 18000 }],
  ['istiod.istio-system.svc:15012', { host: 'istiod.istio-system.svc', port: 15012 }],
  ['dns:///istiod.istio-system.svc:15012', { host: 'istiod.istio-system.svc', port: 15012 }],
  ['dns:plane:1', { host: 'plane', port: 1 }],
  ['dns://8.8.8.8/plane:1', undefined],
  ['unix:///run/xds.sock', undefined],
  ['unix:run/xds.sock', undefined],
  ['ipv4:127.0.0.1:1,127.0.0.2:1', undefined],
  ['trafficdirector.googleapis.com', undefined],
  ['plane:70000', undefined],
])('%s', (uri, expected) => expect(listenAddress(uri, {})).toEqual(expected));

test.each(['grpc_proxy', 'https_proxy', 'http_proxy'])('behind %s a connection of our own says nothing', (name) => {
  expect(listenAddress('127.0.0.1:1', { [name]: 'http://proxy:3128' })).toBeUndefined();
  expect(listenAddress('127.0.0.1:1', { [name]: '' })).toBeDefined();
});
