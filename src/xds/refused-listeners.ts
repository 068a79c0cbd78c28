/**
 * Listeners that were refused and have no value, as far as servers must know: whose address it is (Listener `address`,
 * `additional_addresses`, `traffic_direction`). The rules that it had for that address are not known here, so nobody may be served without.
 */
import type { SocketAddress } from '../config/listener.ts';
import { TYPE_URLS } from '../config/resource.ts';
import { ProtoProblem, unpack } from '../proto/any.ts';
import type { Listener } from '../proto/gen/envoy/config/listener/v3/listener_pb.js';
import { tcpAddress } from './decode/socket-address.ts';

const INBOUND = 1;

/** It may have been for any server. */
const EVERYWHERE: readonly SocketAddress[] = Object.freeze([Object.freeze({ host: '0.0.0.0', port: 0 })]);
const NOWHERE: readonly SocketAddress[] = Object.freeze([]);

/** By the object that holds the bytes, which is another one for every refusal. */
const known = new WeakMap<object, readonly SocketAddress[]>();

/** Where a refused listener would have been served. */
export function refusedAddresses(refusal: { readonly raw: Uint8Array }): readonly SocketAddress[] {
  let found = known.get(refusal);
  if (found === undefined) known.set(refusal, (found = addresses(refusal.raw)));
  return found;
}

function addresses(raw: Uint8Array): readonly SocketAddress[] {
  let message: Listener;
  try {
    message = unpack<Listener>({ typeUrl: TYPE_URLS.listener, value: raw });
  } catch (error) {
    if (error instanceof ProtoProblem) return EVERYWHERE;
    throw error;
  }
  if ((message.trafficDirection as number) !== INBOUND) return NOWHERE;
  return [message.address, ...message.additionalAddresses.map(({ address }) => address)].flatMap(tcpAddress);
}
