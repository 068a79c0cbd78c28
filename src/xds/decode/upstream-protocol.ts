/** HttpProtocolOptions of a cluster: which HTTP version, how many requests a connection carries (Envoy T-12, H-34). */
import type { ClusterConfig } from '../../config/cluster.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { Cluster } from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.js';
import type { HttpProtocolOptions } from '../../proto/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.js';
import { typeNameOf } from '../../proto/any.ts';
import { unwrap } from './any.ts';
import type { Scope } from './scope.ts';
import { survey } from './survey.ts';

const KEY = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';

type Protocol = Pick<ClusterConfig, 'http2' | 'maxRequestsPerConnection'>;

function isHttp2(options: HttpProtocolOptions, path: string, scope: Scope): boolean {
  const chosen = options.upstreamProtocolOptions;
  if (chosen.case === 'explicitHttpConfig') {
    const version = chosen.value.protocolConfig.case;
    if (version === 'http3ProtocolOptions') throw new ConfigProblem(`${path}.explicit_http_config`, 'HTTP/3 is not supported');
    return version === 'http2ProtocolOptions';
  }
  if (chosen.case === 'useDownstreamProtocolConfig') scope.unsupported(`${path}.use_downstream_protocol_config`);
  if (chosen.case === 'autoConfig') scope.unsupported(`${path}.auto_config`);
  return false;
}

/** A limit of 0 means none, as in Envoy. */
function perConnection(value: number | undefined): number | undefined {
  return value === 0 ? undefined : value;
}

export function upstreamProtocol(cluster: Cluster, scope: Scope): Protocol {
  for (const key of Object.keys(cluster.typedExtensionProtocolOptions))
    if (key !== KEY) scope.unsupported(`typed_extension_protocol_options=${key}`);
  const given = cluster.typedExtensionProtocolOptions[KEY];
  if (given === undefined) {
    return { http2: cluster.http2ProtocolOptions !== undefined, maxRequestsPerConnection: perConnection(cluster.maxRequestsPerConnection) };
  }
  const path = `typed_extension_protocol_options["${KEY}"]`;
  const packed = unwrap(given, path, scope);
  if (typeNameOf(packed.typeUrl) !== KEY) throw new ConfigProblem(path, `${typeNameOf(packed.typeUrl)} is not HttpProtocolOptions`);
  const options = scope.unpack<HttpProtocolOptions>(packed, path);
  survey(options, path, scope);
  return {
    http2: isHttp2(options, path, scope),
    maxRequestsPerConnection: perConnection(
      options.commonHttpProtocolOptions?.maxRequestsPerConnection ?? cluster.maxRequestsPerConnection,
    ),
  };
}
