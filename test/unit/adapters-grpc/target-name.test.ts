import { describe, expect, test } from 'vitest';
import { hostOf, parseTarget } from '../../../src/adapters/grpc/target-name.ts';

describe('targets (gRFC A27)', () => {
  test.each([
    ['greeter', 'greeter', false],
    ['Greeter:50051', 'greeter:50051', false],
    ['127.0.0.1:80', '127.0.0.1:80', false],
    ['[::1]:80', '[::1]:80', false],
    ['dns:greeter:1', 'greeter:1', false],
    ['dns:///greeter:1', 'greeter:1', false],
    ['dns://8.8.8.8/greeter:1', 'greeter:1', false],
    ['ipv4:10.0.0.1:80', '10.0.0.1:80', false],
    ['xds:///reviews.default.svc:9080', 'reviews.default.svc:9080', true],
    ['xds:reviews', 'reviews', true],
    ['xds://authority.example/reviews', 'reviews', true],
    ['xds:///a%2Fb', 'a/b', true],
    ['xds:///bad%zz', 'bad%zz', true],
    ['unix:/tmp/socket', '', false],
  ])('%s', (target, authority, xds) => {
    expect(parseTarget(target)).toEqual({ authority, xds });
  });

  test.each([
    ['greeter:1', 'greeter'],
    ['greeter', 'greeter'],
    ['[::1]:80', '::1'],
    ['::1', '::1'],
  ])('host of %s', (authority, host) => {
    expect(hostOf(authority)).toBe(host);
  });
});
