/** The retry host predicate `previous_hosts` (Envoy R-66): a retry prefers endpoints that the call has not tried. */
import type { RetryPolicyConfig } from '../config/routes.ts';
import type { OutboundCall } from '../core/call.ts';
import type { Endpoint, Picker } from '../core/endpoint.ts';

/**
 * Picks, and picks again while the endpoint was tried before, `hostSelectionMaxAttempts` + 1 times at most. When all were tried, one that
 * is not the last to have failed is used: Envoy uses the last pick regardless, and with two endpoints and round robin that is for ever
 * the same one. A gRPC call takes the first pick: gRFC A44 ignores host predicates.
 */
export function pickAvoiding(picker: Picker, call: OutboundCall, retry: RetryPolicyConfig | undefined): Endpoint | undefined {
  let endpoint = picker.pick(call);
  const { tried } = call;
  if (tried === undefined || retry === undefined || !retry.avoidPreviousHosts || call.head.protocol === 'grpc') return endpoint;
  const last = tried.at(-1);
  let other: Endpoint | undefined;
  for (let again = 0; endpoint !== undefined && tried.includes(endpoint); again++) {
    if (other === undefined && endpoint !== last) other = endpoint;
    if (again >= retry.hostSelectionMaxAttempts) return other ?? endpoint;
    endpoint = picker.pick(call);
  }
  return endpoint;
}
