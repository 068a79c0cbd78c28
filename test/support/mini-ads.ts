/**
 * The smallest control plane that a foreign xDS client (grpc-js-xds) needs: one listener, route, cluster and endpoint, encoded by hand so
 * that it shares no code with ours. Reference: peer-grpc-js-xds.md §7.1.
 */
import type { Metadata, ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { byteStream, portOf } from './byte-server.ts';

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
const bytes = (field: number, ...content: readonly (Buffer | string)[]): Buffer => {
  const body = Buffer.concat(content.map((c) => Buffer.from(c)));
  return Buffer.concat([varint((field << 3) | 2), varint(body.length), body]);
};
const number = (field: number, value: number): Buffer => Buffer.concat([varint(field << 3), varint(value)]);

const TYPE = 'type.googleapis.com/';
const any = (field: number, type: string, ...content: readonly Buffer[]): Buffer =>
  bytes(field, bytes(1, TYPE + type), bytes(2, ...content));

const LISTENER = 'envoy.config.listener.v3.Listener';
const ROUTES = 'envoy.config.route.v3.RouteConfiguration';
const CLUSTER = 'envoy.config.cluster.v3.Cluster';
const ENDPOINTS = 'envoy.config.endpoint.v3.ClusterLoadAssignment';
const HCM = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
const ROUTER = 'envoy.extensions.filters.http.router.v3.Router';

function resources(name: string, port: number): ReadonlyMap<string, Buffer> {
  const ads = Buffer.concat([bytes(3), number(6, 2)]);
  const manager = Buffer.concat([
    bytes(2, name),
    bytes(3, bytes(1, ads), bytes(2, 'routes')),
    bytes(5, bytes(1, 'router'), any(4, ROUTER)),
  ]);
  const address = bytes(1, bytes(1, bytes(2, '127.0.0.1'), number(3, port)));
  return new Map([
    [LISTENER, any(2, LISTENER, bytes(1, name), bytes(19, any(1, HCM, manager)))],
    [
      ROUTES,
      any(
        2,
        ROUTES,
        bytes(1, 'routes'),
        bytes(2, bytes(1, 'all'), bytes(2, '*'), bytes(3, bytes(1, bytes(1, '/')), bytes(2, bytes(1, 'cluster')))),
      ),
    ],
    [CLUSTER, any(2, CLUSTER, bytes(1, 'cluster'), number(2, 3), bytes(3, bytes(1, ads)))],
    [
      ENDPOINTS,
      any(2, ENDPOINTS, bytes(1, 'cluster'), bytes(2, bytes(1, bytes(1, 'here')), bytes(2, bytes(1, address)), bytes(3, number(1, 1)))),
    ],
  ]);
}

/** The string fields of a message, by number; the last one wins. */
function strings(message: Buffer): Map<number, string> {
  const found = new Map<number, string>();
  let at = 0;
  const read = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++] ?? 0;
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = read();
    if ((tag & 7) === 0) read();
    else if ((tag & 7) === 2) {
      const length = read();
      found.set(tag >>> 3, message.toString('utf8', at, at + length));
      at += length;
    } else throw new Error(`unexpected wire type in field ${tag >>> 3}`);
  }
  return found;
}

const service: ServiceDefinition = {
  stream: byteStream('/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources'),
};

export interface MiniAdsOptions {
  /** Default: no encryption. */
  readonly credentials?: ServerCredentials;
  /** Where to listen; default `127.0.0.1:0`. */
  readonly address?: string;
  /** A status for who is not let in. */
  readonly admit?: (metadata: Metadata) => { readonly code: number; readonly details: string } | undefined;
}

/** Serves `xds:///name` with one endpoint, `127.0.0.1:port`. */
export async function startMiniAds(
  name: string,
  port: number,
  options: MiniAdsOptions = {},
): Promise<{ readonly port: number; close(): void }> {
  const all = resources(name, port);
  const server = new Server();
  server.addService(service, {
    stream(call: ServerDuplexStream<Buffer, Buffer>) {
      const refused = options.admit?.(call.metadata);
      if (refused !== undefined) {
        call.emit('error', refused);
        return;
      }
      call.on('data', (request: Buffer) => {
        const fields = strings(request);
        const type = fields.get(4) ?? '';
        const resource = all.get(type.slice(TYPE.length));
        // A request with a nonce is an acknowledgement; nothing here ever changes.
        if (resource === undefined || (fields.get(5) ?? '') !== '') return;
        // No names: all of them, for listeners and clusters.
        if (!fields.has(3) && !type.endsWith(LISTENER) && !type.endsWith(CLUSTER)) return;
        call.write(Buffer.concat([bytes(1, '1'), resource, bytes(4, type), bytes(5, `${type}-1`)]));
      });
      call.on('end', () => call.end());
    },
  });
  const bound = await portOf(server, options.address ?? '127.0.0.1:0', options.credentials ?? ServerCredentials.createInsecure());
  return { port: bound, close: () => server.forceShutdown() };
}
