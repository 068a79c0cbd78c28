/** decode(encode(x)) equals x, for everything that a `mesh.yaml` can say. */
import { describe, expect, test } from 'vitest';
import { plain as withPlainEndpoints } from '../../support/plain-endpoints.ts';
import { LB_POLICIES } from '../../../src/balancing/registry.ts';
import { Encoder, encodeToJson } from '../../../src/control-plane/encode/resource.ts';
import { duration } from '../../../src/control-plane/encode/json.ts';
import { describeResourceError } from '../../../src/config/resource.ts';
import { FILTERS } from '../../../src/filters/registry.ts';
import { anyToJson } from '../../../src/proto/any.ts';
import { KINDS, loadMeshYaml } from '../../../src/sources/mesh-yaml/load.ts';
import type { ResourceSet } from '../../../src/sources/mesh-yaml/compile.ts';
import { describeProblem } from '../../../src/sources/mesh-yaml/problem.ts';
import { RESOURCE_TYPES } from '../../../src/xds/resource-types.ts';

const FILES: Readonly<Record<string, string>> = {
  'the least': 'version: 1\nservices: { a: {} }\n',
  endpoints: `version: 1
services:
  a:
    endpoints:
      - 127.0.0.1:80
      - { address: "[::1]:81", labels: { v: "1", w: x }, weight: 7, zone: r/z/s, health: healthy }
      - { address: "[::1]:82", labels: { v: "1" }, zone: z, health: unhealthy }
      - { address: "127.0.0.1:83", health: degraded }
      - { address: "127.0.0.1:84", health: draining }
    routes: [{ match: { path: /1 }, to: { labels: { w: x, v: "1" } } }, {}]
`,
  clusters: `version: 1
services:
  a: { lb: least-request, protocol: http2, connectTimeout: 250ms, panic: 0%, outlier: {}, limits: { maxRequests: 1, maxPending: 2, maxRetries: 3 }, breaker: { errorRate: 25% }, retries: { budget: 12.5% } }
  b: { lb: random, protocol: grpc, panic: 12.5%, outlier: { consecutive5xx: 1, ejection: 1.5s, maxEjected: 100%, interval: 100ms } }
  c: { mtls: strict, identity: [spiffe://x/a, spiffe://x/b] }
  d: { mtls: strict, protocol: grpc }
`,
  routes: `version: 1
services:
  a:
    timeout: 1.5s
    retries: { on: [5xx, reset, 429, 503, cancelled, unavailable], perTry: 20ms, attempts: 5, backoff: { base: 10ms, max: 1s } }
    routes:
      - { match: { path: /exact } , rewrite: { path: /other, host: h.local } }
      - { match: { path: /pre/** }, rewrite: { path: / } }
      - { match: { path: { prefix: /p, ignoreCase: true } }, rewrite: { regex: { pattern: "a(b)", substitution: 'x\\1' } } }
      - { match: { path: { regex: "/r[0-9]+" }, method: [GET, POST], query: { q: a, r: { present: true }, s: { suffix: z } } }, timeout: 0s }
      - { name: named, match: { method: PUT, headers: { a: b, c: { prefix: d, ignoreCase: true }, e: { suffix: f, not: true }, g: { contains: h }, i: { regex: j.*k }, l: { present: true }, m: { present: false } } }, split: [{ weight: 1 }, { weight: 4294967, service: b }] }
      - { match: { path: /r1 }, redirect: { scheme: https, host: h, port: 8443, status: 307 } }
      - { match: { path: /r2 }, redirect: { path: /full, stripQuery: true } }
      - { match: { path: /r3/** }, redirect: { prefix: /new, status: 303 } }
      - { match: { path: /d }, respond: { status: 503, body: "closed\\n" } }
      - { match: { path: /e }, respond: { status: 204 } }
      - { headers: { request: { set: { A: "1" }, add: { B: "2" }, remove: [C] }, response: { set: { d: "3" }, remove: [e, f] } } }
  b: {}
`,
  inbound: `version: 1
inbound:
  - { port: 80 }
  - { port: 81, host: "::1", mtls: strict, allow: [] }
  - port: 82
    mtls: strict
    allow: [{ from: [spiffe://dev/a, spiffe://dev/b/*, "*"], methods: [GET], paths: [/a, /b/**] }, { headers: { x: { present: true } } }]
    deny: [{ paths: [/**], methods: [GET, HEAD], headers: { y: { regex: z } } }]
`,
};

function resources(text: string): ResourceSet {
  const loaded = loadMeshYaml(text, 'mesh.yaml', { certificates: { kind: 'provider', instance: 'inmesh' } });
  if (!loaded.ok) throw new Error(loaded.errors.map(describeProblem).join('\n'));
  return loaded.resources;
}

/** What `lb.config: undefined` stands for. */
const LB_DEFAULTS: Readonly<Record<string, object>> = {
  round_robin: { localityWeighted: false },
  least_request: { choiceCount: 2, activeRequestBias: 1, fullScan: false, localityWeighted: false },
  random: { localityWeighted: false },
};

/** Functions and the order of keys aside, both sides are plain data; the router has no configuration worth comparing. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(plain);
  if ('policy' in value && 'config' in value && value.config === undefined) return { ...value, config: LB_DEFAULTS[String(value.policy)] };
  const router = 'terminal' in value && value.terminal === true;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !(router && key === 'config'))
      .map(([key, inner]) => [key, plain(inner)]),
  );
}

describe.each(Object.entries(FILES))('%s', (_name, text) => {
  const set = resources(text);
  const encoder = new Encoder();

  test('decode(encode(x)) equals x, with nothing unsupported', () => {
    let count = 0;
    for (const kind of KINDS) {
      for (const [name, value] of set[kind]) {
        const any = encoder.encode(kind, value);
        const unsupported: string[] = [];
        const decoded = RESOURCE_TYPES.find((type) => type.kind === kind)?.decode(any.value, {
          filters: FILTERS,
          lbPolicies: LB_POLICIES,
          certificateProviders: new Set(['inmesh']),
          unsupported: (_kind, field) => void unsupported.push(field),
        });
        if (decoded?.ok !== true) throw new Error(decoded?.errors.map(describeResourceError).join('\n') ?? 'no such type');
        expect(decoded.name).toBe(name);
        expect(plain(withPlainEndpoints(decoded.value))).toEqual(plain(value));
        expect(unsupported).toEqual([]);
        count++;
      }
    }
    expect(count).toBeGreaterThan(0);
  });

  test('encoded once', () => {
    for (const [, value] of set.listener) expect(encoder.encode('listener', value)).toBe(encoder.encode('listener', value));
  });
});

test('inline certificates stand in the resource instead of the provider', () => {
  const cluster = resources(FILES['clusters'] ?? '').cluster.get('c');
  if (cluster === undefined) throw new Error('no cluster');
  const inline = { kind: 'inline', certificates: { certificateChainPem: 'CHAIN', privateKeyPem: 'KEY', rootsPem: 'ROOTS' } } as const;
  expect(encodeToJson('cluster', cluster, inline)['transport_socket']).toMatchObject({
    typed_config: {
      common_tls_context: {
        tls_certificates: [{ certificate_chain: { inline_string: 'CHAIN' }, private_key: { inline_string: 'KEY' } }],
        validation_context: {
          trusted_ca: { inline_string: 'ROOTS' },
          match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'spiffe://x/a' } }, {}],
        },
      },
    },
  });
  const encoder = new Encoder();
  expect(encoder.encode('cluster', cluster, inline).value).not.toEqual(encoder.encode('cluster', cluster).value);
});

test.each([
  [0, '0.000000000s'],
  [1, '0.001000000s'],
  [1500, '1.500000000s'],
  [2 ** 31 - 1, '2147483.647000000s'],
  [0.25, '0.000250000s'],
])('%d ms is %s', (ms, text) => {
  expect(duration(ms)).toBe(text);
});

test('the message is what its JSON says', () => {
  const [, listener] = [...resources('version: 1\nservices: { a: {} }').listener][0] ?? [];
  if (listener === undefined) throw new Error('no listener');
  expect(anyToJson(new Encoder().encode('listener', listener))).toMatchObject({
    name: 'a',
    api_listener: { api_listener: { rds: { route_config_name: 'a', config_source: { ads: {} } } } },
  });
});
