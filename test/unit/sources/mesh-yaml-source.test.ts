/** A `mesh.yaml` as a `ConfigSource`: states, change notifications, and what keeps its identity over reloads. */
import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { silentLogger } from '../../../src/core/log.ts';
import { MeshYamlSource } from '../../../src/sources/mesh-yaml-source.ts';
import { share } from '../../../src/sources/mesh-yaml/share.ts';
import { resolve } from '../../../src/config/resolve.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';

const A = `version: 1
include: [a, "*.local"]
services:
  a:
    hosts: [a, "a:8080"]
    endpoints: ["h:1", { address: "h:2", labels: { v: "2" } }]
    routes:
      - { match: { path: /x }, to: { labels: { v: "2" } } }
      - {}
  b: { endpoints: ["h:3"] }
inbound: [{ port: 80 }, { port: 81, host: 127.0.0.1 }]
`;

const open = (text = A): MeshYamlSource => MeshYamlSource.fromText(text, 'mesh.yaml', { clock: new FakeClock(), log: silentLogger });

describe('MeshYamlSource', () => {
  test('everything is there at once, and resolves', () => {
    const source = open();
    expect(source.listeners()).toEqual(['a', 'a:8080', 'b', 'inbound/0.0.0.0:80', 'inbound/127.0.0.1:81']);
    const resolution = resolve('a', source);
    expect(resolution.status).toBe('complete');
    if (resolution.status === 'complete') expect([...resolution.snapshot.clusters.keys()].sort()).toEqual(['a', 'a|v=2']);
    expect(source.include).toEqual(['a', '*.local']);
    expect(source.get('cluster', 'zzz')).toEqual({ status: 'failed', reason: 'mesh.yaml has no cluster "zzz"' });
  });

  test('candidates: the host with its port wins; nothing for others', () => {
    const source = open();
    expect(source.candidates('a:8080')).toEqual(['a:8080', 'a']);
    expect(source.candidates('a:9090')).toEqual(['a']);
    expect(source.candidates('a')).toEqual(['a']);
    expect(source.candidates('zzz')).toEqual([]);
    expect(source.candidates('inbound/0.0.0.0:80')).toEqual([]);
  });

  test('server listeners by port, or by address where one is given', () => {
    const source = open();
    expect(source.inboundListener('127.0.0.1', 80)).toBe('inbound/0.0.0.0:80');
    expect(source.inboundListener('127.0.0.1', 81)).toBe('inbound/127.0.0.1:81');
    expect(source.inboundListener('10.0.0.1', 81)).toBeUndefined();
  });

  test('an invalid file throws with every problem and a picture', () => {
    expect(() => open('version: 1\nservices:\n  a: { lb: x, timeout: 1 }\n')).toThrow(
      /2 errors:\nmesh\.yaml:3:12[\s\S]*\^[\s\S]*mesh\.yaml:3:24/,
    );
  });

  test('a reload keeps what did not change, and tells once', () => {
    const source = open();
    let told = 0;
    source.onChange(() => void told++);
    const before = {
      a: source.get('listener', 'a'),
      routes: source.get('routes', 'a'),
      b: source.get('endpoints', 'b'),
      all: source.get('endpoints', 'a'),
    };
    const result = source.reload(A.replace('h:2', 'h:22'));
    expect(result).toEqual({
      ok: true,
      changed: [
        { kind: 'endpoints', name: 'a|v=2' },
        { kind: 'endpoints', name: 'a' },
      ],
    });
    expect(told).toBe(1);
    expect(source.get('listener', 'a')).toBe(before.a);
    expect(source.get('routes', 'a')).toBe(before.routes);
    expect(source.get('endpoints', 'b')).toBe(before.b);
    expect(source.get('endpoints', 'a')).not.toBe(before.all);
    const state = source.get('endpoints', 'a');
    expect(state).toMatchObject({ status: 'present', version: '2' });
    expect(source.describe().resources.find((entry) => entry.name === 'b' && entry.typeUrl.endsWith('.Cluster'))?.version).toBe('1');
  });

  test('a changed route leaves its neighbours alone', () => {
    const source = open();
    const routes = (): readonly unknown[] => {
      const state = source.get('routes', 'a');
      return state.status === 'present' ? (state.value.virtualHosts[0]?.routes ?? []) : [];
    };
    const [, second] = routes();
    source.reload(A.replace('path: /x', 'path: /y'));
    expect(routes()[1]).toBe(second);
    // Also when one is put before it.
    source.reload(A.replace('      - {}', '      - { match: { path: /z } }\n      - {}'));
    expect(routes()).toHaveLength(3);
    expect(routes()[2]).toBe(second);
  });

  test('the same content in other words changes nothing', () => {
    const source = open();
    let told = 0;
    source.onChange(() => void told++);
    expect(source.reload(`# comment\n${A}`)).toEqual({ ok: true, changed: [] });
    expect(told).toBe(0);
  });

  test('an invalid file keeps the last good one', () => {
    const source = open();
    let told = 0;
    source.onChange(() => void told++);
    const before = source.get('routes', 'a');
    expect(source.reload(A.replace('path: /x', 'path: x'))).toMatchObject({
      ok: false,
      errors: [{ line: 8, path: 'services.a.routes[0].match.path' }],
    });
    expect([told, source.get('routes', 'a')]).toEqual([0, before]);
    expect(source.describe().problem).toContain('mesh.yaml:8:');
    source.reload(A);
    expect(source.describe().problem).toBeUndefined();
  });

  test('what is taken away is gone', () => {
    const source = open();
    expect(source.reload(A.replace(/ {2}b: .*\n/, ''))).toMatchObject({
      changed: [
        { kind: 'listener', name: 'b' },
        { kind: 'routes', name: 'b' },
        { kind: 'cluster', name: 'b' },
        { kind: 'endpoints', name: 'b' },
      ],
    });
    expect(source.get('listener', 'b').status).toBe('failed');
    expect(source.candidates('b')).toEqual([]);
  });

  test('no change is told after close, and none within one', async () => {
    const source = open();
    const seen: string[] = [];
    source.onChange(() => {
      seen.push('begin');
      if (seen.length < 3) source.reload(A.replace('h:3', 'h:4'));
      seen.push('end');
    });
    source.reload(A.replace('h:3', 'h:5'));
    expect(seen).toEqual(['begin', 'end', 'begin', 'end']);
    await source.close();
    source.reload(A);
    expect(seen).toHaveLength(4);
  });
});

describe('share', () => {
  const json = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<unknown>;

  test('the result always equals the new value', () => {
    fc.assert(fc.property(json, json, (before, after) => void expect(share(before, after)).toEqual(after)));
  });

  test('an equal value is the old one', () => {
    fc.assert(fc.property(json, (value) => void expect(share(value, structuredClone(value))).toBe(value)));
  });

  test('bytes are compared', () => {
    const before = { bytes: new Uint8Array([1, 2]) };
    expect(share(before, { bytes: new Uint8Array([1, 2]) })).toBe(before);
    expect(share(before, { bytes: new Uint8Array([1, 3]) })).not.toBe(before);
  });
});
