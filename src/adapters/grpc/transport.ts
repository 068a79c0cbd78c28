/**
 * Transports of the mesh's gRPC channels. Channels with the same credentials and connection options share one, and so its connections:
 * an application that makes a stub per call still has one connection per endpoint.
 */
import type { ChannelOptions } from '@grpc/grpc-js';
import { ChannelCredentials } from '@grpc/grpc-js';
import type { Attempt } from '../../core/call.ts';
import type { Clock } from '../../core/clock.ts';
import type { Endpoint } from '../../core/endpoint.ts';
import type { Connection, Transport } from '../../core/transport.ts';
import type { GrpcOpener } from './call.ts';
import { GrpcConnection } from './connection.ts';
import type { ConnectionSetting } from './connection.ts';

export class GrpcTransport implements GrpcOpener {
  readonly name = 'grpc';
  readonly setting: ConnectionSetting;

  constructor(setting: ConnectionSetting) {
    this.setting = setting;
  }

  connect(endpoint: Endpoint, secure: boolean): Connection {
    return new GrpcConnection(endpoint, secure, this.setting);
  }

  open(attempt: Attempt): void {
    const connection = attempt.endpoint?.connection(this, attempt.call.head.scheme === 'https');
    if (!(connection instanceof GrpcConnection)) throw new TypeError('the endpoint has no gRPC connection');
    connection.open(attempt);
  }
}

/** A transport with the settings that most channels have. */
export function createGrpcTransport(clock: Clock): Transport {
  return new GrpcTransport({ clock, credentials: ChannelCredentials.createInsecure(), options: {}, serverName: '' });
}

/** What an application sets for a channel and has no meaning for a connection to one endpoint. */
const NOT_OF_CONNECTIONS = new Set([
  'grpc.service_config',
  'grpc.default_authority',
  'grpc.retry_buffer_size',
  'channelFactoryOverride',
  'channelOverride',
]);

export class TransportPool {
  readonly #clock: Clock;
  readonly #transports: { readonly key: string; readonly transport: GrpcTransport }[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `serverName`: for TLS with these credentials; empty with insecure ones. */
  get(credentials: ChannelCredentials, all: ChannelOptions, serverName: string): GrpcTransport {
    const options = Object.fromEntries(Object.entries(all).filter(([name]) => !NOT_OF_CONNECTIONS.has(name)));
    const key = JSON.stringify([serverName, Object.entries(options).toSorted()]);
    const found = this.#transports.find((entry) => entry.key === key && entry.transport.setting.credentials._equals(credentials));
    if (found !== undefined) return found.transport;
    const transport = new GrpcTransport({ clock: this.#clock, credentials, options, serverName });
    this.#transports.push({ key, transport });
    return transport;
  }
}
