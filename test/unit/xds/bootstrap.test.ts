import { describe, expect, test } from 'vitest';
import { MeshError } from '../../../src/core/errors.ts';
import { readBootstrap } from '../../../src/xds/bootstrap.ts';

const server = { server_uri: 'cp:1', channel_creds: [{ type: 'insecure' }] };
const minimal = { xds_servers: [server] };

function read(document: unknown) {
  return readBootstrap(JSON.stringify(document), '/etc/b.json');
}

function problemOf(run: () => unknown): MeshError {
  try {
    run();
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('good bootstraps', () => {
  test('the least there can be, with every default', () => {
    expect(read(minimal)).toEqual({
      servers: [{ uri: 'cp:1', credentials: { type: 'insecure' }, features: [], protocol: 'sotw', aggregated: true }],
      format: 'grpc',
      sources: {},
      clusters: {},
      staticResources: [],
      runtime: [],
      unsupported: [],
      node: { id: '', cluster: '', locality: { region: '', zone: '', subZone: '' }, metadata: {} },
      certificateProviders: {},
      serverListenerTemplate: undefined,
      clientListenerTemplate: '%s',
      authorities: {},
      origin: '/etc/b.json',
    });
  });

  test('what the Istio agent writes', () => {
    const files = {
      certificate_file: '/d/cert-chain.pem',
      private_key_file: '/d/key.pem',
      ca_certificate_file: '/d/root-cert.pem',
      refresh_interval: '900s',
    };
    const found = read({
      xds_servers: [{ server_uri: 'unix:///etc/istio/proxy/XDS', channel_creds: [{ type: 'insecure' }], server_features: ['xds_v3'] }],
      node: { id: 'sidecar~10.0.0.7~p.ns~ns.svc', locality: {}, metadata: { GENERATOR: 'grpc', LABELS: {} }, UserAgentVersionType: null },
      certificate_providers: { default: { plugin_name: 'file_watcher', config: files } },
      server_listener_resource_name_template: 'xds.istio.io/grpc/lds/inbound/%s',
    });
    expect(found.servers[0]).toMatchObject({ uri: 'unix:///etc/istio/proxy/XDS', credentials: { type: 'insecure' }, features: ['xds_v3'] });
    expect(found.node.metadata).toEqual({ GENERATOR: 'grpc', LABELS: {} });
    expect(found.certificateProviders['default']).toEqual({
      plugin: 'file_watcher',
      certificateFile: '/d/cert-chain.pem',
      privateKeyFile: '/d/key.pem',
      caCertificateFile: '/d/root-cert.pem',
      refreshIntervalMs: 900_000,
    });
    expect(found.serverListenerTemplate).toBe('xds.istio.io/grpc/lds/inbound/%s');
  });

  test('credentials: the first supported type wins, others are skipped', () => {
    const found = read({
      xds_servers: [{ server_uri: 'x', channel_creds: [{ type: 'alts' }, { type: 'tls' }, { type: 'insecure' }] }],
    });
    expect(found.servers[0]?.credentials).toEqual({
      type: 'tls',
      certificateFile: undefined,
      privateKeyFile: undefined,
      caCertificateFile: undefined,
      refreshIntervalMs: 600_000,
    });
  });

  test('google_default, and call credentials: all that are supported, none of the others', () => {
    expect(read({ xds_servers: [{ server_uri: 'x', channel_creds: [{ type: 'google_default' }] }] }).servers[0]).toEqual({
      uri: 'x',
      credentials: { type: 'google_default' },
      features: [],
      protocol: 'sotw',
      aggregated: true,
    });
    const call_creds = [
      { type: 'sts', config: { any: 1 } },
      { type: 'jwt_token_file', config: { jwt_token_file: '/var/run/token' } },
      { type: 'jwt_token_file', config: { jwt_token_file: '/other' } },
    ];
    expect(read({ xds_servers: [{ server_uri: 'x', channel_creds: [{ type: 'tls' }], call_creds }] }).servers[0]?.callCredentials).toEqual([
      { type: 'jwt_token_file', path: '/var/run/token' },
      { type: 'jwt_token_file', path: '/other' },
    ]);
  });

  test('server features that are no strings, unknown fields, and unknown provider plugins are left out', () => {
    const found = read({
      xds_servers: [
        { ...server, server_features: ['a', 5, null, { b: 1 }], call_creds: [{ type: 'unknown', config: { any: 1 } }], other: 1 },
      ],
      certificate_providers: {
        ours: { plugin_name: 'file_watcher', config: { ca_certificate_file: '/ca' } },
        theirs: { plugin_name: 'meshca', config: 5 },
      },
      allowed_grpc_services: { 'dns:///limits': { channel_creds: [{ type: 'alts' }], call_creds: [{ type: 'unknown' }] }, none: null },
    });
    expect(found.servers[0]?.features).toEqual(['a']);
    expect(Object.keys(found.certificateProviders)).toEqual(['ours']);
  });

  test('authorities inherit servers and have a template of their own', () => {
    const found = read({
      xds_servers: [server],
      authorities: {
        a: { xds_servers: [{ ...server, server_uri: 'other:2' }], client_listener_resource_name_template: 'xdstp://a/L/%s' },
        'b.c': {},
        '': { xds_servers: [] },
      },
    });
    expect(found.authorities['a']).toMatchObject({ servers: [{ uri: 'other:2' }], clientListenerTemplate: 'xdstp://a/L/%s' });
    expect(found.authorities['b.c']).toMatchObject({
      servers: [{ uri: 'cp:1' }],
      clientListenerTemplate: 'xdstp://b.c/envoy.config.listener.v3.Listener/%s',
    });
    expect(found.authorities['']).toMatchObject({
      servers: [{ uri: 'cp:1' }],
      clientListenerTemplate: 'xdstp:///envoy.config.listener.v3.Listener/%s',
    });
  });

  test('is frozen all through, and names such as __proto__ are names', () => {
    const found = readBootstrap(
      '{"xds_servers":[{"server_uri":"x","channel_creds":[{"type":"insecure"}]}],"authorities":{"__proto__":{}}}',
      'x',
    );
    expect(Object.isFrozen(found.servers[0]?.credentials)).toBe(true);
    expect(Object.keys(found.authorities)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['servers']).toBeUndefined();
  });

  test('null counts as absent', () => {
    expect(
      read({ ...minimal, node: null, authorities: null, certificate_providers: null, client_default_listener_resource_name_template: null })
        .clientListenerTemplate,
    ).toBe('%s');
  });
});

const withServer = (change: object): object => ({ xds_servers: [{ ...server, ...change }] });
const withProvider = (config: unknown): object => ({ ...minimal, certificate_providers: { p: { plugin_name: 'file_watcher', config } } });
const withTls = (config: unknown): object => withServer({ channel_creds: [{ type: 'tls', config }] });
const CREDENTIALS = 'xds_servers[0].channel_creds';

const BAD: readonly (readonly [title: string, document: unknown, message: string])[] = [
  ['an array', [], 'the document must be an object, found an array'],
  ['null', null, 'the document must be an object, found nothing'],
  ['no servers', {}, 'xds_servers is missing'],
  ['empty servers', { xds_servers: [] }, 'xds_servers is empty'],
  ['servers no array', { xds_servers: {} }, 'xds_servers must be an array, found an object'],
  ['server no object', { xds_servers: ['cp:1'] }, 'xds_servers[0] must be an object, found "cp:1"'],
  ['second server bad', { xds_servers: [server, { ...server, server_uri: 1 }] }, 'xds_servers[1].server_uri must be a string, found 1'],
  ['no uri', withServer({ server_uri: undefined }), 'xds_servers[0].server_uri is missing'],
  ['empty uri', withServer({ server_uri: '' }), 'xds_servers[0].server_uri is empty'],
  ['no credentials', withServer({ channel_creds: undefined }), `${CREDENTIALS} is missing`],
  ['empty credentials', withServer({ channel_creds: [] }), `${CREDENTIALS} is empty`],
  ['credentials no array', withServer({ channel_creds: { type: 'insecure' } }), `${CREDENTIALS} must be an array, found an object`],
  ['credential no object', withServer({ channel_creds: ['insecure'] }), `${CREDENTIALS}[0] must be an object, found "insecure"`],
  ['credential without type', withServer({ channel_creds: [{}] }), `${CREDENTIALS}[0].type is missing`],
  [
    'none supported',
    withServer({ channel_creds: [{ type: 'local' }, { type: 'alts' }] }),
    `${CREDENTIALS} has no type that inmesh supports (found local, alts)`,
  ],
  [
    'a token file without config',
    withServer({ call_creds: [{ type: 'jwt_token_file' }] }),
    'xds_servers[0].call_creds[0].config is missing. Give {"jwt_token_file": PATH}',
  ],
  [
    'a token file without path',
    withServer({ call_creds: [{ type: 'jwt_token_file', config: { jwt_token_file: '' } }] }),
    'xds_servers[0].call_creds[0].config.jwt_token_file is empty',
  ],
  [
    'a token file whose path is no text',
    withServer({ call_creds: [{ type: 'jwt_token_file', config: { jwt_token_file: 5 } }] }),
    'xds_servers[0].call_creds[0].config.jwt_token_file must be a string, found 5',
  ],
  [
    'a token that would go in the clear',
    withServer({ call_creds: [{ type: 'jwt_token_file', config: { jwt_token_file: '/t' } }] }),
    'xds_servers[0].call_creds has call credentials (jwt_token_file) on an insecure channel, where anybody could read them. Use channel_creds of type "tls"',
  ],
  ['call credentials no array', withServer({ call_creds: 'x' }), 'xds_servers[0].call_creds must be an array, found "x"'],
  ['call credential no object', withServer({ call_creds: ['jwt'] }), 'xds_servers[0].call_creds[0] must be an object, found "jwt"'],
  ['call credential without type', withServer({ call_creds: [{ type: 'x' }, {}] }), 'xds_servers[0].call_creds[1].type is missing'],
  [
    'call credential type no string',
    withServer({ call_creds: [{ type: 5 }] }),
    'xds_servers[0].call_creds[0].type must be a string, found 5',
  ],
  [
    'call credential config no object',
    withServer({ call_creds: [{ type: 'x', config: 5 }] }),
    'xds_servers[0].call_creds[0].config must be an object, found 5',
  ],
  ['allowed services no object', { ...minimal, allowed_grpc_services: 7 }, 'allowed_grpc_services must be an object, found 7'],
  [
    'allowed service no object',
    { ...minimal, allowed_grpc_services: { a: [] } },
    'allowed_grpc_services.a must be an object, found an array',
  ],
  [
    'allowed service credentials no array',
    { ...minimal, allowed_grpc_services: { a: { channel_creds: {} } } },
    'allowed_grpc_services.a.channel_creds must be an array, found an object',
  ],
  [
    'allowed service credential without type',
    { ...minimal, allowed_grpc_services: { a: { channel_creds: [{}] } } },
    'allowed_grpc_services.a.channel_creds[0].type is missing',
  ],
  [
    'allowed service call credential bad',
    { ...minimal, allowed_grpc_services: { 'dns:///x': { call_creds: [1] } } },
    'allowed_grpc_services["dns:///x"].call_creds[0] must be an object, found 1',
  ],
  ['features no array', withServer({ server_features: 'xds_v3' }), 'xds_servers[0].server_features must be an array, found "xds_v3"'],
  ['tls config no object', withTls([]), `${CREDENTIALS}[0].config must be an object, found an array`],
  [
    'tls key missing',
    withTls({ certificate_file: '/c' }),
    `${CREDENTIALS}[0].config.private_key_file is missing, but certificate_file is set`,
  ],
  [
    'tls certificate missing',
    withTls({ private_key_file: '/k' }),
    `${CREDENTIALS}[0].config.certificate_file is missing, but private_key_file is set`,
  ],
  ['tls ca no string', withTls({ ca_certificate_file: true }), `${CREDENTIALS}[0].config.ca_certificate_file must be a string, found true`],
  [
    'tls SPIFFE map',
    withTls({ spiffe_trust_bundle_map_file: '/m' }),
    `${CREDENTIALS}[0].config.spiffe_trust_bundle_map_file is not supported yet`,
  ],
  ['node no object', { ...minimal, node: 'n' }, 'node must be an object, found "n"'],
  ['node id no string', { ...minimal, node: { id: 5 } }, 'node.id must be a string, found 5'],
  ['node cluster no string', { ...minimal, node: { cluster: [] } }, 'node.cluster must be a string, found an array'],
  ['locality no object', { ...minimal, node: { locality: 'eu' } }, 'node.locality must be an object, found "eu"'],
  ['locality zone no string', { ...minimal, node: { locality: { zone: 1 } } }, 'node.locality.zone must be a string, found 1'],
  [
    'locality region no string',
    { ...minimal, node: { locality: { region: {} } } },
    'node.locality.region must be a string, found an object',
  ],
  ['locality sub_zone no string', { ...minimal, node: { locality: { sub_zone: 1 } } }, 'node.locality.sub_zone must be a string, found 1'],
  ['metadata no object', { ...minimal, node: { metadata: [] } }, 'node.metadata must be an object, found an array'],
  ['providers no object', { ...minimal, certificate_providers: [] }, 'certificate_providers must be an object, found an array'],
  ['provider no object', { ...minimal, certificate_providers: { 'a-b': 1 } }, 'certificate_providers["a-b"] must be an object, found 1'],
  ['provider without plugin', { ...minimal, certificate_providers: { p: {} } }, 'certificate_providers.p.plugin_name is missing'],
  ['file_watcher without config', withProvider(undefined), 'certificate_providers.p.config is missing'],
  ['file_watcher names no files', withProvider({}), 'certificate_providers.p.config names no files'],
  [
    'file_watcher half an identity',
    withProvider({ certificate_file: '/a/c' }),
    'certificate_providers.p.config.private_key_file is missing',
  ],
  [
    'file_watcher two directories',
    withProvider({ certificate_file: '/a/c', private_key_file: '/b/k' }),
    'certificate_providers.p.config.private_key_file must be in the same directory',
  ],
  [
    'file_watcher interval no duration',
    withProvider({ ca_certificate_file: '/c', refresh_interval: '10m' }),
    'certificate_providers.p.config.refresh_interval must be a duration such as "600s", found "10m"',
  ],
  [
    'file_watcher interval a number',
    withProvider({ ca_certificate_file: '/c', refresh_interval: 600 }),
    'certificate_providers.p.config.refresh_interval must be a string, found 600',
  ],
  [
    'file_watcher interval zero',
    withProvider({ ca_certificate_file: '/c', refresh_interval: '0s' }),
    'certificate_providers.p.config.refresh_interval must be more than 0',
  ],
  [
    'file_watcher SPIFFE map',
    withProvider({ ca_certificate_file: '/c', spiffe_trust_bundle_map_file: '/m' }),
    'certificate_providers.p.config.spiffe_trust_bundle_map_file is not supported yet',
  ],
  [
    'server template no string',
    { ...minimal, server_listener_resource_name_template: 1 },
    'server_listener_resource_name_template must be a string, found 1',
  ],
  [
    'client template no string',
    { ...minimal, client_default_listener_resource_name_template: {} },
    'client_default_listener_resource_name_template must be a string, found an object',
  ],
  ['authorities no object', { ...minimal, authorities: 'a' }, 'authorities must be an object, found "a"'],
  ['authority no object', { ...minimal, authorities: { 'x.y': [] } }, 'authorities["x.y"] must be an object, found an array'],
  ['authority server bad', { ...minimal, authorities: { a: { xds_servers: [{}] } } }, 'authorities.a.xds_servers[0].server_uri is missing'],
  [
    'authority template of another',
    { ...minimal, authorities: { a: { client_listener_resource_name_template: 'xdstp://b/%s' } } },
    'authorities.a.client_listener_resource_name_template must begin with "xdstp://a/"',
  ],
];

describe('bad bootstraps name the field and the file', () => {
  test.each(BAD)('%s', (_title, document, message) => {
    const problem = problemOf(() => read(document));
    expect(problem.code).toBe('ERR_MESH_BOOTSTRAP');
    expect(problem.message).toContain(`xDS bootstrap /etc/b.json: ${message}`);
  });

  test('no JSON: what was found is told', () => {
    const problem = problemOf(() => readBootstrap('{"xds_servers": [}', '/etc/b.json'));
    expect(problem.code).toBe('ERR_MESH_BOOTSTRAP');
    expect(problem.message).toContain("xDS bootstrap /etc/b.json: not JSON: Unexpected token '}'");
  });
});
