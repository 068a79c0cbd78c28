/** ALPN protocols that are offered, by what the cluster says. */
import { expect, test } from 'vitest';
import { offeredProtocols } from '../../../src/core/tls.ts';

test.each([
  [[], false, ['http/1.1']],
  [[], true, ['h2']],
  [['http/1.1', 'http/1.0'], false, ['http/1.1', 'http/1.0']],
  [['istio-peer-exchange', 'istio'], false, ['istio-http/1.1', 'istio', 'http/1.1']],
  [['istio-peer-exchange', 'istio', 'h2'], true, ['istio-h2', 'istio', 'h2']],
])('%j, HTTP/2 %s: %j', (configured, http2, offered) => {
  expect(offeredProtocols(configured, http2)).toEqual(offered);
});
