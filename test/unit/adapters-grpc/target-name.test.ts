import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { hostOf, parseTarget, socketTarget } from '../../../src/adapters/grpc/target-name.ts';

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

test("sockets as Istio's agent names them: three slashes, and a path that is relative or not", () => {
  const folder = mkdtempSync(join(process.cwd(), 'node_modules', '.inmesh-target-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'proxy'));
  writeFileSync(join(folder, 'proxy', 'XDS'), '');
  const below = relative(process.cwd(), join(folder, 'proxy', 'XDS'));
  expect(socketTarget(`unix:///${below}`)).toBe(`unix:${below}`);
  expect(socketTarget(`unix:///./${below}`)).toBe(`unix:./${below}`);
  // An absolute path stays what it is, and so does one that is not there yet.
  expect(socketTarget(`unix://${join(folder, 'proxy', 'XDS')}`)).toBe(`unix://${join(folder, 'proxy', 'XDS')}`);
  expect(socketTarget(`unix:///${tmpdir().slice(1)}/nowhere/XDS`)).toBe(`unix:///${tmpdir().slice(1)}/nowhere/XDS`);
  expect(socketTarget(`unix:${below}`)).toBe(`unix:${below}`);
  expect(socketTarget('istiod:15012')).toBe('istiod:15012');
});
