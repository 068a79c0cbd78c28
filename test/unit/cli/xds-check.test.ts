/** `inmesh xds check`: every form of file that is found in the field, what is printed, and the exit code. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import fc from 'fast-check';
import { main } from '../../../src/cli/main.ts';
import { hcm } from '../../support/mesh-raw.ts';

const CLUSTER = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
const LISTENER = 'type.googleapis.com/envoy.config.listener.v3.Listener';
const good = { '@type': CLUSTER, name: 'good', type: 'STATIC' };
const bare = { name: 'bare', type: 'STATIC' };
const unnamed = {
  api_listener: { api_listener: { ...hcm({ route_config: { name: 'r' } }) } },
};
const bad = { '@type': CLUSTER, name: 'bad', type: 'EDS' };

async function check(content: unknown, ...flags: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'xds-check-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'file');
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  let [out, error] = ['', ''];
  const terminal = {
    out: (text: string) => void (out += text),
    error: (text: string) => void (error += text),
    untilInterrupted: () => Promise.resolve(),
  };
  const code = await main(['xds', 'check', file, ...flags], terminal);
  return { code, out: out.replaceAll(file, 'FILE'), error };
}

describe('forms of files', () => {
  test.each<readonly [string, unknown, readonly string[], readonly string[]]>([
    ['one resource', good, [], ['Cluster good']],
    ['a list', [good, { ...good, name: 'two' }], [], ['Cluster good', 'Cluster two']],
    ['a DiscoveryResponse', { version_info: '1', resources: [good] }, [], ['Cluster good']],
    ['a DiscoveryResponse with its type at the top', { type_url: CLUSTER, resources: [bare] }, [], ['Cluster bare']],
    ['wrapped resources', { resources: [{ name: 'good', version: '1', resource: good }] }, [], ['Cluster good']],
    ['a map from type to list', { clusters: [bare], listeners: [] }, [], ['Cluster bare']],
    ['camel case', [{ '@type': CLUSTER, name: 'camel', type: 'EDS', edsClusterConfig: { edsConfig: { ads: {} } } }], [], ['Cluster camel']],
    ['an Envoy bootstrap', { node: { id: 'n' }, static_resources: { clusters: [bare] } }, [], ['Cluster bare']],
    [
      'a config dump',
      {
        configs: [
          {
            '@type': 'type.googleapis.com/envoy.admin.v3.ClustersConfigDump',
            static_clusters: [{ cluster: good }],
            dynamic_active_clusters: [{ cluster: { ...good, name: 'two' } }],
          },
          { '@type': 'type.googleapis.com/envoy.admin.v3.BootstrapConfigDump', bootstrap: { static_resources: { clusters: [bare] } } },
        ],
      },
      [],
      ['Cluster good', 'Cluster two', 'Cluster bare'],
    ],
    [
      'several YAML documents',
      `---\n${JSON.stringify(good)}\n---\nclusters:\n- name: second\n  type: STATIC\n`,
      [],
      ['Cluster good', 'Cluster second'],
    ],
    ['a list without types', [bare], ['--type', 'Cluster'], ['Cluster bare']],
    [
      'an Envoy bootstrap that names where more comes from',
      {
        node: { id: 'n' },
        dynamic_resources: { lds_config: { resource_api_version: 'V3', path_config_source: { path: '/lds.yaml' } } },
        static_resources: { clusters: [bare] },
      },
      [],
      ['bootstrap', 'Cluster bare'],
    ],
    [
      'an Envoy bootstrap whose listeners have no names',
      { static_resources: { listeners: [unnamed, unnamed] } },
      [],
      ['Listener static_resources.listeners[0]', 'Listener static_resources.listeners[1]'],
    ],
    ['a bootstrap in the gRPC format', { xds_servers: [{ server_uri: 'x:1', channel_creds: [{ type: 'insecure' }] }] }, [], ['bootstrap']],
  ])('%s', async (_title, content, flags, accepted) => {
    const { code, out } = await check(content, ...flags);
    expect(out.split('\n').filter((line) => line.startsWith('FILE: '))).toEqual(accepted.map((what) => `FILE: accepted ${what}`));
    expect(code).toBe(0);
    expect(out).toContain(
      `1 file, ${accepted.length} resource${accepted.length === 1 ? '' : 's'}: ${accepted.length} accepted, 0 rejected`,
    );
  });
});

describe('what is wrong', () => {
  test('a rejected resource names field and reason; exit code 1', async () => {
    const { code, out } = await check([good, bad]);
    expect(out).toContain('FILE: rejected Cluster bad: eds_cluster_config: is missing');
    expect(out).toContain('1 accepted, 1 rejected');
    expect(code).toBe(1);
  });

  test.each<readonly [string, unknown, RegExp]>([
    [
      'a type that is not known',
      { '@type': 'type.googleapis.com/some.Thing', name: 'x' },
      /rejected Thing x: @type: "some\.Thing" is not a resource type/,
    ],
    ['no type at all', { name: 'x' }, /@type: is missing/],
    ['a value of the wrong type', { '@type': CLUSTER, name: 'x', connect_timeout: 5 }, /rejected Cluster x: /],
    ['no YAML', 'a: [', /rejected file: line 1, column \d+: not YAML or JSON/],
    ['a bad bootstrap', { xds_servers: [] }, /rejected bootstrap: .*xds_servers/],
    [
      'a bad Envoy bootstrap',
      {
        node: { id: 'n' },
        dynamic_resources: {
          ads_config: { api_type: 'GRPC', grpc_services: [{ envoy_grpc: { cluster_name: 'gone' } }] },
          lds_config: { ads: {} },
        },
      },
      /rejected bootstrap: .*ads_config.*"gone"/,
    ],
    ['a list of numbers', '[1, 2]', /@type: is missing/],
  ])('%s', async (_title, content, expected) => {
    const { code, out, error } = await check(content);
    expect(out).toMatch(expected);
    expect([code, error]).toEqual([1, '']);
  });

  test('an empty file holds nothing', async () => {
    expect(await check('')).toMatchObject({ code: 0, out: expect.stringContaining('0 resources') });
  });

  test('a missing file is a rejection, and the others are checked', async () => {
    let out = '';
    const code = await main(['xds', 'check', '/nowhere/at/all'], {
      out: (text) => void (out += text),
      error: () => undefined,
      untilInterrupted: () => Promise.resolve(),
    });
    expect([code, out]).toEqual([1, expect.stringContaining('/nowhere/at/all: rejected file: cannot be read')]);
  });

  test('wrong usage: exit code 2', async () => {
    const run = async (...args: readonly string[]) => {
      let error = '';
      const code = await main(args, {
        out: () => undefined,
        error: (text) => void (error += text),
        untilInterrupted: () => Promise.resolve(),
      });
      return [code, error];
    };
    expect(await run('xds', 'check')).toEqual([2, expect.stringContaining('no file is named')]);
    expect(await run('xds', 'check', 'x', '--type', 'Clustre')).toEqual([2, expect.stringContaining('Did you mean "Cluster"')]);
    expect(await run('xds', 'chek', 'x')).toEqual([2, expect.stringContaining('Did you mean "xds check"')]);
    expect(await run('xds')).toEqual([2, expect.stringContaining('xds check')]);
  });
});

describe('what has no effect', () => {
  const odd = {
    '@type': LISTENER,
    name: 'odd',
    a_field_of_tomorrow: 1,
    traffic_direction: 'OUTBOUND',
    address: { socket_address: { address: '0.0.0.0', port_value: 80 } },
    filter_chains: [
      {
        filters: [
          {
            name: 'hcm',
            typed_config: {
              '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
              route_config: { name: 'r' },
              http_filters: [
                { name: 'of.tomorrow', typed_config: { '@type': 'type.googleapis.com/of.tomorrow.v1.Filter', depth: { x: 1 } } },
                { name: 'router', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' } },
              ],
            },
          },
        ],
      },
    ],
  };

  test('fields and types that nobody here knows are named, never a crash; the rest is read', async () => {
    const { code, out } = await check(odd, '--unsupported');
    expect(out).toContain('FILE: accepted Listener odd');
    expect(out).toContain('without effect: Listener a_field_of_tomorrow (1)');
    expect(out).toContain('=of.tomorrow.v1.Filter (1)');
    expect(code).toBe(0);
  });

  test('the same filter on an inbound listener rejects it by name', async () => {
    const { code, out } = await check({ ...odd, traffic_direction: 'INBOUND' });
    expect(out).toContain('filter "of.tomorrow" of type of.tomorrow.v1.Filter is not supported');
    expect(code).toBe(1);
  });

  test('--json', async () => {
    const { code, out } = await check([good, bad, odd], '--json');
    expect(JSON.parse(out)).toMatchObject({
      files: 1,
      resources: 3,
      accepted: 2,
      rejected: [{ file: 'FILE', type: 'Cluster', name: 'bad', field: 'eds_cluster_config' }],
      unsupported: expect.arrayContaining([{ field: 'Listener a_field_of_tomorrow', count: 1 }]),
    });
    expect(code).toBe(1);
  });

  test('--quiet: only rejections and the summary', async () => {
    const { out } = await check([good, bad], '--quiet');
    expect(out).not.toContain('accepted Cluster');
  });
});

test('any JSON: a verdict, never a crash', async () => {
  await fc.assert(
    fc.asyncProperty(fc.json(), fc.constantFrom(CLUSTER, LISTENER, undefined), async (text, type) => {
      const content =
        type === undefined
          ? text
          : `{"resources":[{"@type":${JSON.stringify(type)},"name":"x","metadata":${text},"filter_chains":${text}}]}`;
      const { code, error } = await check(content, '--json');
      expect([0, 1]).toContain(code);
      expect(error).toBe('');
    }),
    { numRuns: 150, seed: 4 },
  );
});

test('two refused resources of one name are two; a dump among several documents has its place', async () => {
  const { code, out } = await check([bad, bad]);
  expect([code, out.split('\n').at(-2)]).toEqual([1, '1 file, 2 resources: 0 accepted, 2 rejected, 0 fields without effect']);
  const dump = {
    configs: [{ '@type': 'type.googleapis.com/envoy.admin.v3.ClustersConfigDump', static_clusters: [{ cluster: { '@type': CLUSTER } }] }],
  };
  const second = await check(`---\n${JSON.stringify(good)}\n---\n${JSON.stringify(dump)}\n`);
  expect(second.out).toMatch(/rejected Cluster document 2\.configs\[0\]/);
});
