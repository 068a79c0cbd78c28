/**
 * Generates `src/proto/gen` (protobuf-es code for the xDS messages) from the .proto files inside the devDependency
 * `@grpc/grpc-js-xds`. Offline, plain Node; does nothing when neither its inputs nor this script have changed.
 * Usage: node scripts/proto.mjs [--force]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(root, 'src/proto/gen');
const stampFile = join(out, '.stamp');

/** Files with messages that inmesh reads, or that a resource may carry in an `Any`. What they import comes along. */
const FILES = [
  // The protocol
  'envoy/service/discovery/v3/ads.proto',
  'envoy/service/load_stats/v3/lrs.proto',
  'envoy/service/status/v3/csds.proto',
  'envoy/service/secret/v3/sds.proto',
  'envoy/service/runtime/v3/rtds.proto',
  'envoy/service/runtime/v3/rtds.proto',
  // The resources
  'envoy/config/listener/v3/listener.proto',
  'envoy/config/route/v3/route.proto',
  'envoy/config/route/v3/scoped_route.proto',
  'envoy/config/cluster/v3/cluster.proto',
  'envoy/config/endpoint/v3/endpoint.proto',
  'envoy/config/bootstrap/v3/bootstrap.proto',
  'envoy/config/accesslog/v3/accesslog.proto',
  'envoy/config/rbac/v3/rbac.proto',
  'envoy/config/core/v3/extension.proto',
  // Network and listener filters
  'envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto',
  'envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto',
  'envoy/extensions/filters/network/rbac/v3/rbac.proto',
  'envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto',
  'envoy/extensions/filters/listener/http_inspector/v3/http_inspector.proto',
  'envoy/extensions/filters/listener/original_dst/v3/original_dst.proto',
  // HTTP filters
  'envoy/extensions/filters/http/router/v3/router.proto',
  'envoy/extensions/filters/http/fault/v3/fault.proto',
  'envoy/extensions/filters/http/rbac/v3/rbac.proto',
  'envoy/extensions/filters/http/header_mutation/v3/header_mutation.proto',
  'envoy/extensions/filters/http/cors/v3/cors.proto',
  'envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto',
  'envoy/extensions/filters/http/grpc_stats/v3/config.proto',
  'envoy/extensions/filters/http/grpc_web/v3/grpc_web.proto',
  'envoy/extensions/filters/http/grpc_http1_bridge/v3/config.proto',
  'envoy/extensions/filters/http/health_check/v3/health_check.proto',
  'envoy/extensions/filters/http/on_demand/v3/on_demand.proto',
  'envoy/extensions/filters/http/header_to_metadata/v3/header_to_metadata.proto',
  // Clusters, balancing, upstream options, retries
  'envoy/extensions/clusters/aggregate/v3/cluster.proto',
  'envoy/extensions/upstreams/http/v3/http_protocol_options.proto',
  'envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto',
  'envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.proto',
  'envoy/extensions/load_balancing_policies/least_request/v3/least_request.proto',
  'envoy/extensions/load_balancing_policies/random/v3/random.proto',
  'envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.proto',
  'envoy/extensions/load_balancing_policies/maglev/v3/maglev.proto',
  'envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.proto',
  'envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.proto',
  'envoy/extensions/load_balancing_policies/pick_first/v3/pick_first.proto',
  // Transport sockets
  'envoy/extensions/transport_sockets/tls/v3/tls.proto',
  'envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto',
  'envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto',
  // What raw resources of other people carry besides
  'envoy/extensions/access_loggers/file/v3/file.proto',
  'envoy/extensions/access_loggers/stream/v3/stream.proto',
  'envoy/extensions/matching/input_matchers/ip/v3/ip.proto',
  'envoy/extensions/matching/common_inputs/network/v3/network_inputs.proto',
  'envoy/extensions/rbac/audit_loggers/stream/v3/stream.proto',
  'udpa/type/v1/typed_struct.proto',
  'xds/type/v3/typed_struct.proto',
];

/** Options that only matter to other generators: without them the code is smaller and validate.proto is not loaded. */
const EXCLUDED = ['validate', 'udpa.annotations', 'xds.annotations.v3', 'envoy.annotations', 'google.api'];

/** Fields of newer Envoys that matter here and that the shipped protos lack, with upstream's numbers. */
const NEWER_FIELDS = [
  ['envoy/service/discovery/v3/discovery.proto', 'DiscoveryResponse', ['repeated ResourceError resource_errors = 7']],
  ['envoy/service/discovery/v3/discovery.proto', 'DeltaDiscoveryResponse', ['repeated ResourceError resource_errors = 9']],
  [
    'envoy/extensions/transport_sockets/tls/v3/tls.proto',
    'UpstreamTlsContext',
    ['bool auto_host_sni = 6', 'bool auto_sni_san_validation = 7'],
  ],
  [
    'envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto',
    'SPIFFECertValidatorConfig',
    ['config.core.v3.DataSource trust_bundles = 2'],
  ],
  [
    'envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.proto',
    'ClientSideWeightedRoundRobin',
    ['repeated string metric_names_for_computing_utilization = 7'],
  ],
];

/** Messages of newer Envoys that the shipped protos lack (xRFC TP3). */
const NEWER_MESSAGES = [
  [
    'envoy/service/discovery/v3/discovery.proto',
    'ResourceError',
    'message ResourceError {\n  ResourceName resource_name = 1;\n  google.rpc.Status error_detail = 2;\n}\n',
  ],
];

function packageFolder(name) {
  return join(root, 'node_modules', name);
}

function version(name) {
  return JSON.parse(readFileSync(join(packageFolder(name), 'package.json'), 'utf8')).version;
}

const stamp = createHash('sha256')
  .update(readFileSync(fileURLToPath(import.meta.url)))
  .update(['@grpc/grpc-js-xds', '@bufbuild/buf', '@bufbuild/protoc-gen-es', '@bufbuild/protobuf'].map(version).join(' '))
  .digest('hex');

function run(file, args, cwd) {
  const done = spawnSync(process.execPath, [file, ...args], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, BUF_CACHE_DIR: join(cwd, '.cache') },
  });
  if (done.status !== 0) throw new Error(`${file} ${args.join(' ')} failed:\n${done.stdout}${done.stderr}`);
}

function collectProtos(folder) {
  const deps = join(packageFolder('@grpc/grpc-js-xds'), 'deps');
  for (const part of ['envoy-api/envoy', 'xds/xds', 'xds/udpa', 'protoc-gen-validate/validate', 'googleapis/google']) {
    cpSync(join(deps, part), join(folder, part.slice(part.indexOf('/') + 1)), { recursive: true });
  }
  // The validate.proto that is shipped is older than its users (reference/node.md §3, second trap).
  const validate = join(folder, 'validate/validate.proto');
  const text = readFileSync(validate, 'utf8');
  const patched = /^message StringRules \{[^]*?ignore_empty[^]*?^\}/m.test(text)
    ? text
    : text.replace(/^message StringRules \{/m, 'message StringRules {\n    optional bool ignore_empty = 26;');
  writeFileSync(validate, patched);
  for (const [file, message, fields] of NEWER_FIELDS) addFields(join(folder, file), message, fields);
  for (const [file, message, text] of NEWER_MESSAGES) addMessage(join(folder, file), message, text);
}

function addMessage(file, message, added) {
  const text = readFileSync(file, 'utf8');
  if (!text.includes(`message ${message} {`)) writeFileSync(file, `${text}\n${added}`);
}

function addFields(file, message, fields) {
  const text = readFileSync(file, 'utf8');
  const start = new RegExp(`^message ${message} \\{$`, 'm').exec(text);
  if (start === null) throw new Error(`${file}: message ${message} not found`);
  const at = start.index + start[0].length;
  const body = text.slice(at, text.indexOf('\n}', at));
  const missing = fields.filter((field) => !body.includes(` ${/(\w+) = /.exec(field)[1]} = `));
  writeFileSync(file, text.slice(0, at) + missing.map((field) => `\n  ${field};`).join('') + text.slice(at));
}

/**
 * The descriptors of all files as one module of data, for `proto/any.ts`: it builds those that are needed when they are needed, which
 * takes a third of the time of loading a hundred small modules. Keys are the names that the generated files use.
 */
function writeDescriptors(folder) {
  const files = [];
  const messages = [];
  for (const file of readdirSync(folder, { recursive: true }).toSorted()) {
    if (!file.endsWith('_pb.js')) continue;
    const text = readFileSync(join(folder, file), 'utf8');
    const [, key, base64, dependencies] = /export const (file_\w+) = [^]*?fileDesc\("([^"]+)"(?:, \[([^\]]*)\])?\)/.exec(text);
    files.push(`  ${key}: ["${base64}", [${(dependencies ?? '').replaceAll(/file_\w+/g, '"$&"')}]],`);
    for (const [, name, schema] of text.matchAll(
      /Describes the message ([\w.]+)\.\n[^;]*?export const (\w+) =[^;]*messageDesc\(\w+, \d+\);/g,
    )) {
      if (schema === `${name.split('.').at(-1)}Schema`) messages.push(`  "${name}": "${key}",`);
    }
  }
  const code = [
    '// Descriptor of every file (base64) with the files it needs; and the file of every top-level message.',
    `export const DESCRIPTORS = {\n${files.join('\n')}\n};`,
    `export const FILES = {\n${messages.join('\n')}\n};`,
  ];
  writeFileSync(join(folder, 'descriptors.js'), `${code.join('\n')}\n`);
  const types = [
    'export declare const DESCRIPTORS: Readonly<Record<string, readonly [base64: string, dependencies: readonly string[]]>>;',
    'export declare const FILES: Readonly<Record<string, string>>;',
  ];
  writeFileSync(join(folder, 'descriptors.d.ts'), `${types.join('\n')}\n`);
}

function generate() {
  const buf = join(packageFolder('@bufbuild/buf'), 'bin/buf');
  const plugin = join(packageFolder('@bufbuild/protoc-gen-es'), 'bin/protoc-gen-es');
  const temp = mkdtempSync(join(tmpdir(), 'inmesh-proto-'));
  try {
    const protos = join(temp, 'protos');
    mkdirSync(protos);
    collectProtos(protos);
    writeFileSync(join(temp, 'buf.yaml'), JSON.stringify({ version: 'v2', modules: [{ path: 'protos' }] }));
    run(buf, ['build', ...FILES.flatMap((file) => ['--path', `protos/${file}`]), '--exclude-source-info', '-o', 'set.binpb'], temp);
    writeFileSync(
      join(temp, 'buf.gen.yaml'),
      JSON.stringify({
        version: 'v2',
        inputs: [{ binary_image: 'set.binpb', exclude_types: EXCLUDED }],
        plugins: [{ local: [process.execPath, plugin], out: 'gen', include_imports: true, opt: ['target=js+dts', 'import_extension=js'] }],
      }),
    );
    run(buf, ['generate'], temp);
    writeDescriptors(join(temp, 'gen'));
    writeFileSync(join(temp, 'gen/.stamp'), stamp);
    mkdirSync(dirname(out), { recursive: true });
    rmSync(out, { recursive: true, force: true });
    try {
      renameSync(join(temp, 'gen'), out);
    } catch {
      cpSync(join(temp, 'gen'), out, { recursive: true }); // another file system
    }
  } finally {
    rmSync(temp, { recursive: true, force: true });
  }
}

if (process.argv.includes('--force') || !existsSync(stampFile) || readFileSync(stampFile, 'utf8') !== stamp) generate();
