/** Validation of endpoints: gRPC rules 37 to 40 (grpc.md §4.6) and Envoy L-3. */
import { describe, expect, test } from 'vitest';
import { decode, endpoint } from '../../unit/xds-decode/harness.ts';
import type { Json } from '../../unit/xds-decode/harness.ts';
import { check } from './rows.ts';

const LOCALITY = { locality: { region: 'r', zone: 'z' }, load_balancing_weight: 1 };
const eds = (...endpoints: readonly Json[]): Json => ({ cluster_name: 'c', endpoints });
const L = 'endpoints[0].lb_endpoints';

describe('endpoints (§4.6)', () => {
  check('endpoints', [
    ['37', 'a locality', eds({ ...LOCALITY, lb_endpoints: [endpoint(1)] }), 'accepted'],
    ['37', 'no locality at all (Envoy)', eds({ lb_endpoints: [endpoint(1)] }), 'accepted'],
    ['37', 'the same twice', eds(LOCALITY, LOCALITY), 'endpoints[1].locality'],
    ['37', 'the same in two priorities', eds(LOCALITY, { ...LOCALITY, priority: 1 }), 'accepted'],
    [
      '37',
      'locality weights too large',
      eds({ ...LOCALITY, load_balancing_weight: 4294967295 }, { locality: { region: 'b' }, load_balancing_weight: 1 }),
      'endpoints: the weights',
    ],
    ['37', 'a gap', eds({ ...LOCALITY, priority: 1 }), 'endpoints: there is no locality of priority 0'],
    [
      '37',
      'a gap where the locality has weight 0',
      eds({ ...LOCALITY, load_balancing_weight: 0 }, { ...LOCALITY, priority: 1 }),
      'endpoints: there is no locality of priority 0',
    ],
    ['37', 'no gap without the one of weight 0', eds(LOCALITY, { ...LOCALITY, priority: 2, load_balancing_weight: 0 }), 'accepted'],
    ['L-3', 'priority 129', eds({ ...LOCALITY, priority: 129 }), 'endpoints[0].priority'],
    [
      '38',
      'endpoint weight 0',
      eds({ ...LOCALITY, lb_endpoints: [endpoint(1, { load_balancing_weight: 0 })] }),
      `${L}[0].load_balancing_weight`,
    ],
    [
      '38',
      'endpoint weights too large',
      eds({ ...LOCALITY, lb_endpoints: [endpoint(1, { load_balancing_weight: 4294967295 }), endpoint(2)] }),
      `${L}[1].load_balancing_weight`,
    ],
    ['38', 'an address twice', eds({ ...LOCALITY, lb_endpoints: [endpoint(1), endpoint(1)] }), `${L}[1].endpoint.address`],
    [
      '38',
      'an address twice in two localities',
      eds({ ...LOCALITY, lb_endpoints: [endpoint(1)] }, { locality: { region: 'b' }, lb_endpoints: [endpoint(1)] }),
      'endpoints[1].lb_endpoints[0].endpoint.address',
    ],
    [
      '38',
      'an additional address twice',
      eds({
        ...LOCALITY,
        lb_endpoints: [
          endpoint(1),
          {
            endpoint: {
              address: { socket_address: { address: '10.0.0.9', port_value: 1 } },
              additional_addresses: [{ address: { socket_address: { address: '10.0.0.1', port_value: 1 } } }],
            },
          },
        ],
      }),
      `${L}[1].endpoint.additional_addresses`,
    ],
    ['38', 'port 65536', eds({ ...LOCALITY, lb_endpoints: [endpoint(65536)] }), `${L}[0].endpoint.address.socket_address.port_value`],
    ['38', 'no address', eds({ ...LOCALITY, lb_endpoints: [{ endpoint: {} }] }), `${L}[0].endpoint.address`],
    [
      '38',
      'a pipe (Envoy; the endpoint is left out)',
      eds({ ...LOCALITY, lb_endpoints: [{ endpoint: { address: { pipe: { path: '/x' } } } }] }),
      'accepted',
    ],
    [
      '38',
      'a named port',
      eds({ ...LOCALITY, lb_endpoints: [{ endpoint: { address: { socket_address: { address: '1.2.3.4', named_port: 'http' } } } }] }),
      `${L}[0].endpoint.address.socket_address.named_port`,
    ],
    [
      '39',
      'an unknown denominator',
      { cluster_name: 'c', policy: { drop_overloads: [{ category: 'x', drop_percentage: { numerator: 1, denominator: 5 } }] } },
      'policy.drop_overloads[0].drop_percentage.denominator',
    ],
    ['40', 'no localities', { cluster_name: 'c' }, 'accepted'],
    ['1', 'no name', { endpoints: [] }, 'cluster_name'],
  ]);

  test('rule 39: more than everything is always', () => {
    const { decoded } = decode('endpoints', {
      cluster_name: 'c',
      policy: { drop_overloads: [{ category: 'x', drop_percentage: { numerator: 200 } }] },
    });
    expect(decoded.ok && decoded.value.dropOverloads).toEqual([{ category: 'x', numerator: 100, denominator: 100 }]);
  });
});
