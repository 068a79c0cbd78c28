/**
 * Outage: after a restart the control plane has nothing. By default what is in use keeps its value, whether it was asked for by name or came with
 * a wildcard list (gRFC A88; A53's `ignore_resource_deletion` says nothing more); with `fail_on_data_errors` it is gone. What came with a list
 * and is not in use goes in any case (Envoy X-16).
 */
import { describe, expect, test } from 'vitest';
import { hcm } from '../../../support/mesh-raw.ts';
import type { Json } from './control-plane.ts';
import { A, B, DIALECTS, running, shop } from './rig.ts';
import type { Outage } from './rig.ts';

const KEPT = 'deleted by cp:1, its last value stays in use';
const each = <T extends object>(...more: readonly T[]) => DIALECTS.flatMap((protocol) => more.map((one) => ({ protocol, ...one })));

/** Killed for 10 minutes, and back as a process that serves `resources`. */
async function restarted(made: Outage, resources: readonly Json[], version: string): Promise<void> {
  const { plane, clock } = made;
  plane.kill();
  expect(await made.traffic(600_000, 60_000)).toHaveLength(1);
  plane.serve(resources, version);
  const { length } = plane.opened;
  while (plane.opened.length === length) await clock.advance(100);
  await made.settle();
  expect(made.client.describe()).toMatchObject({ connected: true, problem: undefined });
}

/** What the resources of a type say of themselves, each saying once. */
const sayings = ({ client }: Outage, type: string): readonly string[] => [
  ...new Set(
    client.describe().resources.flatMap(({ typeUrl, status, error }) => (typeUrl.endsWith(`.${type}`) ? [`${status} ${error}`] : [])),
  ),
];

const keeping = each(
  { wildcard: false, features: [] },
  { wildcard: false, features: ['ignore_resource_deletion'] },
  { wildcard: true, features: [] },
);
test.each(keeping)('$protocol, wildcard $wildcard, features $features: traffic goes on, and it is told', async (options) => {
  const made = await running(options);
  await restarted(made, [], '1');
  expect(await made.get()).toBe(String(A));
  for (const type of ['Listener', 'Cluster']) expect(sayings(made, type), type).toEqual([`DOES_NOT_EXIST ${KEPT}`]);
  // RDS and EDS are no complete lists in state of the world: silence says nothing (Envoy X-16). Incrementally, removal is said of each.
  for (const type of ['RouteConfiguration', 'ClusterLoadAssignment'])
    expect(sayings(made, type), type).toEqual([options.protocol === 'sotw' ? 'ACKED undefined' : `DOES_NOT_EXIST ${KEPT}`]);
  expect(made.plane.nacks).toEqual([]);
  expect(await made.traffic(24 * 3_600_000, 3_600_000)).toEqual([String(A)]);
  expect(made.clock.pending).toBe(0);
  // It comes back with something.
  made.plane.serve(shop(B), '2');
  expect(await made.get()).toBe(String(B));
  for (const type of ['Listener', 'Cluster', 'RouteConfiguration']) expect(sayings(made, type), type).toEqual(['ACKED undefined']);
});

const failing = each(
  { wildcard: false, features: ['fail_on_data_errors'] },
  { wildcard: false, features: ['fail_on_data_errors', 'ignore_resource_deletion'] },
  { wildcard: true, features: ['fail_on_data_errors'] },
);
test.each(failing)('negative control: $protocol, wildcard $wildcard, features $features: calls fail until it is back', async (options) => {
  const made = await running(options);
  await restarted(made, [], '1');
  expect(await made.get()).toBe('404 route_not_found');
  // What the listener led to is not asked for any more.
  expect(made.client.describe().resources.map(({ name, error }) => [name, error])).toEqual([['shop', 'deleted by cp:1']]);
  expect(await made.traffic(3_600_000, 600_000)).toEqual(['404 route_not_found']);
  // The very same resources are news again.
  made.plane.serve(shop(A), '1');
  expect(await made.get()).toBe(String(A));
  expect(made.clock.pending).toBe(0);
});

describe.each(DIALECTS)('%s, sidecar view', (protocol) => {
  const ADS = { ads: {}, resource_api_version: 'V3' };

  /** As istiod names and shapes it: a socket listener for a port, which serves whatever host is called there. */
  const socket = (port: number, routes: string): Json => ({
    '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
    name: `0.0.0.0_${port}`,
    address: { socket_address: { address: '0.0.0.0', port_value: port } },
    traffic_direction: 'OUTBOUND',
    filter_chains: [{ filters: [{ name: 'hcm', typed_config: hcm({ rds: { route_config_name: routes, config_source: ADS } }) }] }],
  });
  const sidecar = (port: number): readonly Json[] => [socket(80, 'shop'), socket(81, 'shop'), ...shop(port).slice(1)];
  const options = { protocol, wildcard: true, include: ['shop', 'cart'], resources: sidecar(A) };

  test('hosts go on alike, those called before and those called first now, also after other changes', async () => {
    const made = await running(options);
    expect(made.client.listeners()).toEqual(['0.0.0.0_80', '0.0.0.0_81']);
    await restarted(made, [], '1');
    // What no call had led to is gone.
    expect(made.client.listeners()).toEqual(['0.0.0.0_80']);
    expect([await made.get(), await made.get('/', 'cart')]).toEqual([String(A), String(A)]);
    made.plane.serve([socket(82, 'others')], '2');
    await made.settle();
    expect(made.client.listeners()).toEqual(['0.0.0.0_82', '0.0.0.0_80']);
    expect([await made.get(), await made.get('/', 'cart')]).toEqual([String(A), String(A)]);
    made.plane.serve(sidecar(B), '3');
    expect([await made.get(), await made.get('/', 'cart')]).toEqual([String(B), String(B)]);
  });

  test('negative control: with fail_on_data_errors no host is served', async () => {
    const made = await running({ ...options, features: ['fail_on_data_errors'] });
    await restarted(made, [], '1');
    expect(made.client.listeners()).toEqual([]);
    expect([await made.get(), await made.get('/', 'cart')]).toEqual(['404 route_not_found', '404 route_not_found']);
    made.plane.serve(sidecar(B), '2');
    expect([await made.get(), await made.get('/', 'cart')]).toEqual([String(B), String(B)]);
  });
});
