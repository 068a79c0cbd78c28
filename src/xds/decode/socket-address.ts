/** envoy.config.core.v3.Address as a TCP address; pipes, UDP, internal listeners and named ports are none. */
import type { SocketAddress } from '../../config/listener.ts';
import type { Address } from '../../proto/gen/envoy/config/core/v3/address_pb.js';

export function tcpAddress(message: Address | undefined): SocketAddress[] {
  if (message?.address.case !== 'socketAddress') return [];
  const { address: host, portSpecifier, protocol } = message.address.value;
  return (protocol as number) === 0 && portSpecifier.case === 'portValue' ? [{ host, port: portSpecifier.value }] : [];
}
