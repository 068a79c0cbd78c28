/** Processes that are configured by files and by REST: they end by themselves, and load only what they use. */
import { describe, expect, test } from 'vitest';
import { serve } from '../support/http-servers.ts';
import { run, src } from '../support/mesh-process.ts';
import { cluster, endpoints, listener, routeConfig, to } from '../support/mesh-raw.ts';

const WATCH = `data:text/javascript,import{registerHooks}from'node:module';globalThis.loaded=[];registerHooks({load(u,c,n){globalThis.loaded.push(u);return n(u,c)}})`;
const APP = `
  import { createMesh } from ${JSON.stringify(src('index.ts'))};
  const mesh = await createMesh({ config: 'envoy.json', include: ['shop.test'] });
  console.log(await (await mesh.fetch('http://shop.test/')).text());
  const loaded = (part) => globalThis.loaded.some((url) => url.includes(part));
  console.log(['@grpc/grpc-js', 'adapters/rest/', 'config-file-transport', 'call-credentials'].filter(loaded).join(' '));
  console.log('done');
`;

const file = { resource_api_version: 'V3', path_config_source: { path: 'lds.json' } };
const rest = {
  resource_api_version: 'V3',
  api_config_source: { api_type: 'REST', transport_api_version: 'V3', cluster_names: ['plane'], refresh_delay: '0.050s' },
};

/** `lds` and `cds` say where each comes from. */
async function result(lds: object, cds: object): Promise<string[]> {
  const backend = await serve((_request, response) => response.end('meshed'));
  const listeners = [listener('shop.test', routeConfig('r', [to('one')]))];
  const { '@type': _type, ...load_assignment } = endpoints('one', backend.port) as Record<string, unknown>;
  const clusters = [cluster('one', { type: 'STATIC', eds_cluster_config: undefined, load_assignment })];
  const plane = await serve(({ url }, response) =>
    response.end(JSON.stringify({ version_info: '1', resources: url.endsWith('listeners') ? listeners : clusters })),
  );
  const lb_endpoints = [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: plane.port } } } }];
  const bootstrap = {
    node: { id: 'n' },
    dynamic_resources: { lds_config: lds, cds_config: cds },
    static_resources: {
      clusters: [{ name: 'plane', type: 'STATIC', load_assignment: { cluster_name: 'plane', endpoints: [{ lb_endpoints }] } }],
    },
  };
  const files = {
    'envoy.json': JSON.stringify(bootstrap),
    'lds.json': JSON.stringify({ resources: listeners }),
    'cds.json': JSON.stringify({ resources: clusters }),
  };
  const { code, out, err, lingeredMs } = await run(APP, { flags: ['--import', WATCH], files });
  expect(err).toBe('');
  expect(code).toBe(0);
  expect(lingeredMs).toBeLessThan(2000);
  return out.trim().split('\n');
}

describe('a process ends by itself', () => {
  test('configured by files: neither grpc-js nor REST is loaded', async () => {
    const cds = { ...file, path_config_source: { path: 'cds.json', watched_directory: { path: '.' } } };
    expect(await result(file, cds)).toEqual(['meshed', 'config-file-transport', 'done']);
  });

  test('configured by REST: neither grpc-js nor files are loaded', async () => {
    expect(await result(rest, rest)).toEqual(['meshed', 'adapters/rest/', 'done']);
  });
});
