/** Every bad value of an Envoy bootstrap: the error names the field, the file and what is wrong, and shows no secret. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ADS, ENVOY_GRPC, ads, cluster, document, endpoint, folder, problemOf, read, withSocket } from './envoy-documents.ts';
import type { Json } from './envoy-documents.ts';

const S = 'static_resources.clusters[0]';
const E = `${S}.load_assignment.endpoints[0].lb_endpoints[0]`;
const A = 'dynamic_resources.ads_config';
const G = `${A}.grpc_services[0]`;
const L = 'dynamic_resources.lds_config';
const service = (rest: Json): Json => document(ads({ grpc_services: [rest] }));
const google = (rest: Json): Json => service({ google_grpc: { target_uri: 'x:1', ...rest } });
const metadata = (...initial_metadata: readonly unknown[]): Json => service({ ...ENVOY_GRPC, initial_metadata });
const lds = (lds_config: Json): Json => document(ads(), [cluster()], { lds_config });
const api = (api_config_source: Json): Json => lds({ api_config_source });
const sds = (rest: Json): Json => document(ads(), [withSocket({ validation_context_sds_secret_config: { name: 'ca', ...rest } })]);
const TLS = `${S}.transport_socket.typed_config.common_tls_context.validation_context_sds_secret_config`;

const BAD: readonly (readonly [title: string, document: Json, message: string])[] = [
  ['nothing at all', { static_resources: {} }, 'dynamic_resources names no source, and static_resources is empty'],
  ['clusters no objects', document(ads(), [5]), `${S} must be an object, found 5`],
  ['a cluster without a name', document(ads(), [cluster({ name: '' })]), `${S}.name is empty`],
  ['a cluster twice', document(ads(), [cluster(), cluster()]), 'static_resources.clusters[1].name "cp" is there twice'],
  [
    'a cluster that is not there',
    service({ envoy_grpc: { cluster_name: 'x' } }),
    `${G}.envoy_grpc.cluster_name "x" is not in static_resources.clusters. There are: cp`,
  ],
  [
    'no clusters',
    { ...document(), static_resources: {} },
    `${G}.envoy_grpc.cluster_name "cp" is not in static_resources.clusters. There are none`,
  ],
  [
    'a cluster by EDS',
    document(ads(), [cluster({ type: 'EDS' })]),
    `${S}.type must be STATIC, STRICT_DNS or LOGICAL_DNS for a control plane`,
  ],
  ['no endpoint', document(ads(), [cluster({}, [])]), `${S}.load_assignment names no endpoint`],
  ['an endpoint without address', document(ads(), [cluster({}, [{ endpoint: {} }])]), `${E}.endpoint has no address`],
  [
    'an address of another kind',
    document(ads(), [cluster({}, [{ endpoint: { address: { envoy_internal_address: {} } } }])]),
    `${E}.endpoint.address is neither a socket_address nor a pipe`,
  ],
  [
    'an abstract socket',
    document(ads(), [cluster({}, [{ endpoint: { address: { pipe: { path: '@x' } } } }])]),
    `${E}.endpoint.address.pipe.path is an abstract socket`,
  ],
  ['no port', document(ads(), [cluster({}, [endpoint('a', undefined)])]), `${E}.endpoint.address.socket_address.port_value must be a port`],
  [
    'a port too high',
    document(ads(), [cluster({}, [endpoint('a', 70_000)])]),
    `${E}.endpoint.address.socket_address.port_value must be a port`,
  ],
  [
    'a port that is none',
    document(ads(), [cluster({}, [endpoint('a', 'x')])]),
    `${E}.endpoint.address.socket_address.port_value must be a whole number`,
  ],
  [
    'UDP',
    document(ads(), [cluster({}, [{ endpoint: { address: { socket_address: { address: 'a', port_value: 1, protocol: 'UDP' } } } }])]),
    `${E}.endpoint.address.socket_address.protocol must be TCP`,
  ],
  ['no api_type', document(ads({ api_type: undefined })), `${A}.api_type is missing. Use GRPC, DELTA_GRPC or REST`],
  ['an api_type that is none', document(ads({ api_type: 'SOAP' })), `${A}.api_type is not supported`],
  ['REST for the aggregated stream', document(ads({ api_type: 'REST' })), `${A}.api_type must be GRPC or DELTA_GRPC`],
  ['version 2', document(ads({ transport_api_version: 'V2' })), `${A}.transport_api_version must be V3`],
  ['no services', document(ads({ grpc_services: [] })), `${A}.grpc_services is empty or missing`],
  ['services no list', document(ads({ grpc_services: 'x' })), `${A}.grpc_services must be an array, found "x"`],
  ['neither kind of service', service({}), `${G} must have either envoy_grpc or google_grpc`],
  ['both kinds', service({ ...ENVOY_GRPC, google_grpc: { target_uri: 'x' } }), `${G} must have either envoy_grpc or google_grpc`],
  ['no target', google({ target_uri: '' }), `${G}.google_grpc.target_uri is empty`],
  ['a credentials factory', google({ credentials_factory_name: 'x' }), `${G}.google_grpc.credentials_factory_name is not supported`],
  ['channel credentials of no kind', google({ channel_credentials: {} }), `${G}.google_grpc.channel_credentials must have ssl_credentials`],
  [
    'local credentials elsewhere',
    google({ channel_credentials: { local_credentials: {} } }),
    `${G}.google_grpc.channel_credentials.local_credentials are for this machine only, not for x:1`,
  ],
  [
    'half a pair',
    google({ channel_credentials: { ssl_credentials: { cert_chain: { filename: '/c' } } } }),
    `${G}.google_grpc.channel_credentials.ssl_credentials.private_key is missing`,
  ],
  [
    'a data source that is empty',
    google({ channel_credentials: { ssl_credentials: { root_certs: {} } } }),
    `${G}.google_grpc.channel_credentials.ssl_credentials.root_certs needs filename`,
  ],
  [
    'a variable that is not set',
    google({ channel_credentials: { ssl_credentials: { root_certs: { environment_variable: 'X' } } } }),
    `${G}.google_grpc.channel_credentials.ssl_credentials.root_certs.environment_variable X is not set`,
  ],
  [
    'call credentials of another kind',
    google({ call_credentials: [{ sts_service: {} }] }),
    `${G}.google_grpc.call_credentials[0] has sts_service, which is not supported`,
  ],
  [
    'an access token no header can carry',
    google({ call_credentials: [{ access_token: 'secret\n' }] }),
    `${G}.google_grpc.call_credentials[0].access_token is empty, or holds`,
  ],
  [
    'a token in the clear',
    google({ call_credentials: [{ access_token: 'secret' }] }),
    `${G} has call credentials (access_token) on an insecure channel`,
  ],
  ['a metadata key that is none', metadata({ key: 'a b', value: 'x' }), `${G}.initial_metadata[0].key "a b" is no metadata key`],
  ['a binary value', metadata({ key: 'a', raw_value: 'eA==' }), `${G}.initial_metadata[0].raw_value is not supported`],
  ['a value no header can carry', metadata({ key: 'a', value: 'secret\n' }), `${G}.initial_metadata[0].value holds characters`],
  [
    'an operator that speaks of requests',
    metadata({ key: 'a', value: '%REQ(X)%' }),
    `${G}.initial_metadata[0].value has %REQ%, which means nothing`,
  ],
  ['a lonely percent sign', metadata({ key: 'a', value: 'secret%' }), `${G}.initial_metadata[0].value has a single "%"`],
  [
    'a variable that is not set',
    metadata({ key: 'a', value: '%ENVIRONMENT(NOPE)%' }),
    `${G}.initial_metadata[0].value needs the environment variable NOPE, which is not set`,
  ],
  [
    'authorization twice',
    metadata({ key: 'authorization', value: 'secret' }, { key: 'Authorization', value: 'secret' }),
    `${G} has "authorization" both as a token and as metadata, or twice as metadata`,
  ],
  [
    'a socket without configuration',
    document(ads(), [cluster({ transport_socket: { name: 'envoy.transport_sockets.tls' } })]),
    `${S}.transport_socket.typed_config is missing`,
  ],
  [
    'a socket of another kind',
    document(ads(), [cluster({ transport_socket: { name: 'x' } })]),
    `${S}.transport_socket transport socket "x" has no typed_config`,
  ],
  ['a socket that is no message', document(ads(), [cluster({ transport_socket: { nam: 'x' } })]), `${S}.transport_socket cannot be read:`],
  [
    'TLS that is not understood',
    document(ads(), [withSocket({ custom_handshaker: { name: 'x' } })]),
    `${S}.transport_socket.typed_config.common_tls_context.custom_handshaker`,
  ],
  ['a secret that is not there', sds({}), `${TLS}.name "ca" is not in static_resources.secrets`],
  ['a secret by ADS', sds({ sds_config: { ads: {} } }), `${TLS}.sds_config must be a file`],
  [
    'a secret file that is not there',
    sds({ sds_config: { path: '/nowhere/x.json' } }),
    `${TLS}.sds_config names /nowhere/x.json, which cannot be read: ENOENT`,
  ],
  [
    'keep-alive without timeout',
    document(ads(), [cluster({ http2_protocol_options: { connection_keepalive: { interval: '1s' } } })]),
    `${S}.http2_protocol_options.connection_keepalive.timeout is missing`,
  ],
  [
    'keep-alive of nothing',
    document(ads(), [cluster({ http2_protocol_options: { connection_keepalive: { interval: '0s', timeout: '1s' } } })]),
    `${S}.http2_protocol_options.connection_keepalive.interval must be at least 0.001s`,
  ],
  ['a source of no kind', lds({}), `${L} must have ads, api_config_source or path_config_source`],
  ['a source of version 2', lds({ ads: {}, resource_api_version: 'V2' }), `${L}.resource_api_version must be V3`],
  [
    'ads without ads_config',
    { ...document(), dynamic_resources: { lds_config: ADS } },
    `${L}.ads needs dynamic_resources.ads_config, which is missing`,
  ],
  ['a negative wait', lds({ path: '/x', initial_fetch_timeout: '-1s' }), `${L}.initial_fetch_timeout must not be negative`],
  ['an empty path', lds({ path_config_source: { path: '' } }), `${L}.path_config_source.path is empty`],
  ['a source without services', api({ api_type: 'GRPC' }), `${L}.api_config_source.grpc_services is empty or missing`],
  ['REST without clusters', api({ api_type: 'REST', refresh_delay: '1s' }), `${L}.api_config_source.cluster_names is empty or missing`],
  [
    'REST to a cluster that is not there',
    api({ api_type: 'REST', cluster_names: ['x'] }),
    `${L}.api_config_source.cluster_names "x" is not in static_resources.clusters`,
  ],
  [
    'REST to what is no name',
    api({ api_type: 'REST', cluster_names: [5] }),
    `${L}.api_config_source.cluster_names must be a list of names`,
  ],
  [
    'REST without a delay',
    api({ api_type: 'REST', cluster_names: ['cp'] }),
    `${L}.api_config_source.refresh_delay must be set and above 0 for REST`,
  ],
  [
    'REST without time',
    api({ api_type: 'REST', cluster_names: ['cp'], refresh_delay: '1s', request_timeout: '0s' }),
    `${L}.api_config_source.request_timeout must be above 0`,
  ],
  ['a listener that is no message', { static_resources: { listeners: [{ name: 5 }] } }, 'static_resources.listeners[0] cannot be read:'],
  ['a node that is none', { ...document(), node: 5 }, 'node must be an object, found 5'],
  ['a node id that is none', { ...document(), node: { id: 5 } }, 'node.id must be a string, found 5'],
  [
    'a layer without a name',
    { ...document(), layered_runtime: { layers: [{ static_layer: {} }] } },
    'layered_runtime.layers[0].name is missing',
  ],
];

describe('bad bootstraps name the field, the file and what is wrong', () => {
  test.each(BAD)('%s', (_title, value, message) => {
    const problem = problemOf(() => read(value));
    expect(problem.code).toBe('ERR_MESH_BOOTSTRAP');
    expect(problem.message).toContain(`xDS bootstrap /etc/envoy.json: ${message}`);
    expect(problem.message).not.toContain('secret\n');
  });

  test('a secret file that is no JSON: nothing of it is shown', () => {
    const file = join(folder({ 'x.json': 'secret: [' }), 'x.json');
    const problem = problemOf(() => read(sds({ sds_config: { path: file } })));
    expect(problem.message).toContain(`${TLS}.sds_config names ${file}, which is no JSON or YAML`);
    expect(problem.message).not.toContain('secret: [');
  });
});
