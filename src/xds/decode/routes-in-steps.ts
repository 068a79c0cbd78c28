/** A RouteConfiguration of its own from its bytes, in steps: virtual host by virtual host, since there may be thousands. */
import type { RouteConfiguration, VirtualHostConfig } from '../../config/routes.ts';
import { ConfigProblem, TYPE_URLS } from '../../config/resource.ts';
import type { RouteConfiguration as RouteConfigurationMessage } from '../../proto/gen/envoy/config/route/v3/route_pb.js';
import type { VirtualHost } from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import { freeze } from './freeze.ts';
import { KnownHosts } from './known-hosts.ts';
import { routeFrame, virtualHost } from './routes.ts';
import type { Scope } from './scope.ts';
import { survey } from './survey.ts';
import { BYTES, WireReader } from './wire.ts';

const VIRTUAL_HOSTS = 2;
/** A host, its routes, each of them. */
const HOST_DEPTH = 3;
/** Units of work between two steps: a host that is like another costs one, one that is decoded ten. */
const STEP = 30;
const DECODED = 10;

/** The bytes of the virtual hosts, and those of all the rest. */
function split(bytes: Uint8Array): { readonly hosts: readonly Uint8Array[]; readonly rest: Uint8Array } {
  const wire = new WireReader(bytes);
  const hosts: Uint8Array[] = [];
  const rest: Uint8Array[] = [];
  let kept = 0;
  for (let start = 0; wire.next(); start = wire.position) {
    if (wire.field !== VIRTUAL_HOSTS || wire.wireType !== BYTES) {
      wire.skip();
      continue;
    }
    if (kept < start) rest.push(bytes.subarray(kept, start));
    hosts.push(wire.slice());
    kept = wire.position;
  }
  rest.push(bytes.subarray(kept));
  return { hosts, rest: Buffer.concat(rest) };
}

export function* routesInSteps(bytes: Uint8Array, scope: Scope): Generator<undefined, RouteConfiguration> {
  const { hosts, rest } = split(bytes);
  const message = scope.unpack<RouteConfigurationMessage>({ typeUrl: TYPE_URLS.routes, value: rest }, '');
  scope.name = message.name;
  if (message.name === '') throw new ConfigProblem('name', 'must not be empty');
  survey(message, '', scope);
  const { around, inherited, complete } = routeFrame(message, '', scope);
  const known = new KnownHosts();
  const virtualHosts: VirtualHostConfig[] = [];
  let work = 0;
  for (const [i, value] of hosts.entries()) {
    const before = known.decoded;
    const host = known.take(value, () => {
      const path = `virtual_hosts[${i}]`;
      const inner = scope.unpack<VirtualHost>({ typeUrl: TYPE_URLS['virtual-host'], value }, path);
      survey(inner, path, scope);
      return virtualHost(inner, path, scope, around, inherited);
    });
    virtualHosts.push(freeze(host, HOST_DEPTH));
    work += known.decoded > before ? DECODED : 1;
    if (work < STEP) continue;
    work = 0;
    yield undefined;
  }
  return freeze(complete(Object.freeze(virtualHosts)), 1);
}
