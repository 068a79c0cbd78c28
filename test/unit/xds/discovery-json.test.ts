/** A DiscoveryResponse as JSON: one resource that cannot be read costs only itself, and nothing is lost without a word. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import { anyToJson, pack, unpack } from '../../../src/proto/any.ts';
import { encodeResponse, responseFromBytes, responseFromJson as steps } from '../../../src/proto/discovery-json.ts';
import { lenientJsonToAny } from '../../../src/proto/lenient-json.ts';
import { isGuarded } from '../../../src/proto/unknown-fields.ts';
import type { JsonObject } from '../../../src/proto/any.ts';
import { SUPPORT } from '../../../src/xds/decode/support.ts';
import type { TextResponse } from '../../../src/proto/discovery-json.ts';
import { RESOURCE_TYPE_URL, decodeDiscoveryResponse, decodeWrappedResource } from '../../../src/proto/discovery.ts';

const TYPED_STRUCT = 'type.googleapis.com/xds.type.v3.TypedStruct';

function responseFromJson(json: unknown, typeUrl: string): TextResponse {
  const running = steps(json, typeUrl);
  for (;;) {
    const step = running.next();
    if (step.done === true) return step.value;
  }
}

/** As the session sees it. */
function read(json: unknown): {
  readonly resources: readonly { readonly typeUrl: string; readonly value: Uint8Array }[];
  readonly problems: readonly string[];
} {
  const response = responseFromJson(json, TYPE_URLS.cluster);
  const { resources } = decodeDiscoveryResponse(encodeResponse(response, 'v', 'n'));
  return { resources, problems: response.problems };
}

const one = (resource: object): ReturnType<typeof read> => read({ resources: [resource] });

test('names of fields in both forms; version and nonce are what the caller says; the type is what was asked for', () => {
  for (const json of [{ version_info: '1', type_url: '' }, { versionInfo: '1' }]) {
    const response = responseFromJson(
      { ...json, nonce: 'x', resources: [{ '@type': TYPE_URLS.cluster, name: 'a', connectTimeout: '2s' }] },
      TYPE_URLS.cluster,
    );
    expect(response).toMatchObject({ versionInfo: '1', nonce: 'x', typeUrl: TYPE_URLS.cluster, problems: [] });
    expect(decodeDiscoveryResponse(encodeResponse(response, 'own', 'n'))).toMatchObject({
      versionInfo: 'own',
      nonce: 'n',
      typeUrl: TYPE_URLS.cluster,
    });
  }
  expect(read({}).resources).toEqual([]);
  expect(read({ resources: null }).resources).toEqual([]);
});

describe('a field that is not known', () => {
  const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext';
  const RBAC = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';
  const cluster = (typed_config: object): object => ({
    '@type': TYPE_URLS.cluster,
    name: 'a',
    transport_socket: { name: 't', typed_config },
  });
  const context = { trusted_ca: { inline_string: 'x' } };
  const broken = (given: ReturnType<typeof read>): boolean =>
    given.resources.length === 1 && given.problems.length === 1 && given.resources[0]?.typeUrl === RESOURCE_TYPE_URL;

  test('is taken out and named, outside of TLS and RBAC', () => {
    const { resources, problems } = one({ '@type': TYPE_URLS.cluster, name: 'a', soon: 1, outlier_detection: { later: {} } });
    expect(problems).toEqual(['resources[0] "a": read without fields that are not known here: soon, outlier_detection.later']);
    expect(resources.map((resource) => unpack<{ name: string }>(resource).name)).toEqual(['a']);
  });

  // Over gRPC the same field refuses the resource (survey.ts, filters/rbac).
  test.each([
    ['of a TLS context', cluster({ '@type': TLS, must_check: true })],
    ['deep in one', cluster({ '@type': TLS, common_tls_context: { validation_context: { ...context, must_check: true } } })],
    [
      'in a matcher of one',
      cluster({
        '@type': TLS,
        common_tls_context: {
          validation_context: { ...context, match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'a', only: 1 } }] },
        },
      }),
    ],
    [
      'in a policy',
      {
        '@type': TYPE_URLS.routes,
        name: 'a',
        typed_per_filter_config: { rbac: { '@type': RBAC, rules: { policies: { p: { permissions: [{ any: true }], unless: 1 } } } } },
      },
    ],
  ])('%s refuses the resource', (_where, json) => {
    expect(broken(one(json))).toBe(true);
    const type = (json as { '@type': string })['@type'];
    expect(() => lenientJsonToAny(json as JsonObject, type)).toThrow(/is not known to inmesh, and could be what protects/);
  });

  test('all messages that are strict in binary form are guarded here', () => {
    const strict = Object.entries(SUPPORT).flatMap(([name, { strict: is }]) => (is === true ? [name] : []));
    expect(strict.length).toBeGreaterThan(10);
    expect(strict.filter((name) => !isGuarded(name))).toEqual([]);
  });
});

test.each([
  [{ seconds: 1 }, '1s'],
  [{ seconds: '2', nanos: 500_000_000 }, '2.500s'],
  [{ nanos: 1 }, '0.000000001s'],
  [{}, '0s'],
])('a duration as an object, as Envoy reads it too: %j', (connect_timeout, expected) => {
  const { resources, problems } = one({ '@type': TYPE_URLS.cluster, name: 'a', connect_timeout });
  expect(problems).toEqual([]);
  const [first] = resources;
  expect(first && anyToJson(first)['connect_timeout']).toBe(expected);
});

test.each([{ seconds: 1.5 }, { nanos: 1e9 }, { seconds: 1, nanos: -1 }, { second: 1 }])('no duration: %j', (connect_timeout) => {
  expect(one({ '@type': TYPE_URLS.cluster, name: 'a', connect_timeout }).problems).toHaveLength(1);
});

test('an extension of an unknown type, however deep, becomes a TypedStruct of that type', () => {
  const { resources, problems } = one({
    '@type': TYPE_URLS.cluster,
    name: 'a',
    typed_extension_protocol_options: {
      x: { '@type': 'type.googleapis.com/acme.Fancy', level: 3, deep: { '@type': 'type.googleapis.com/acme.More' } },
    },
  });
  expect(problems).toEqual([]);
  const [cluster] = resources;
  expect(cluster && anyToJson(cluster)['typed_extension_protocol_options']).toEqual({
    x: {
      '@type': TYPED_STRUCT,
      type_url: 'type.googleapis.com/acme.Fancy',
      value: { level: 3, deep: { '@type': 'type.googleapis.com/acme.More' } },
    },
  });
});

test('fields that the schemas do not have are left out and named; values of enums are not', () => {
  const known = { '@type': TYPE_URLS.cluster, name: 'a', connect_timeout: '1s' };
  const lenient = one({
    ...known,
    fancy: 1,
    eds_cluster_config: { service_name: 's', future: [] },
    load_assignment: { endpoints: [{ priority: 1, zz: {} }] },
  });
  expect(lenient.problems).toEqual([
    'resources[0] "a": read without fields that are not known here: fancy, eds_cluster_config.future, load_assignment.endpoints[0].zz',
  ]);
  expect(lenient.resources[0] && anyToJson(lenient.resources[0])).toMatchObject({
    eds_cluster_config: { service_name: 's' },
    load_assignment: { endpoints: [{ priority: 1 }] },
  });

  const refused = one({ ...known, lb_policy: 'NO_SUCH' });
  expect(refused.problems).toEqual([expect.stringMatching(/^resources\[0\] "a": .*NO_SUCH/)]);
  // Under its name, with bytes that nobody takes.
  const [broken] = refused.resources;
  expect(broken?.typeUrl).toBe(RESOURCE_TYPE_URL);
  const wrapped = decodeWrappedResource(broken?.value ?? new Uint8Array());
  expect(wrapped).toMatchObject({ name: 'a', resource: { typeUrl: TYPE_URLS.cluster } });
  expect(() => wrapped.resource && unpack(wrapped.resource)).toThrow('not a envoy.config.cluster.v3.Cluster');
});

test('wrapped resources; the others stay when one is broken', () => {
  const wrapper = (name: string, resource: object): object => ({ '@type': RESOURCE_TYPE_URL, name, ttl: '5s', resource });
  const { resources, problems } = read({
    resources: [
      wrapper('a', { '@type': TYPE_URLS.cluster, name: 'a' }),
      wrapper('b', { '@type': TYPE_URLS.cluster, name: 'b', connect_timeout: 'soon' }),
      { '@type': 'type.googleapis.com/acme.Nothing' },
      7,
      { name: 'untyped' },
    ],
  });
  expect(resources.map(({ typeUrl }) => typeUrl)).toEqual([
    RESOURCE_TYPE_URL,
    RESOURCE_TYPE_URL,
    'type.googleapis.com/acme.Nothing',
    '',
    '',
  ]);
  expect(resources.slice(0, 2).map(({ value }) => decodeWrappedResource(value).name)).toEqual(['a', 'b']);
  expect(problems).toEqual([
    expect.stringMatching(/^resources\[1\] "b": .*soon/),
    'resources[3]: must be an object with "@type"',
    'resources[4]: must be an object with "@type"',
  ]);
});

describe('what is no response', () => {
  test.each([[null], [[]], ['x'], [{ resources: {} }], [{ versionInfo: 1 }]])('%j', (json) => {
    expect(() => responseFromJson(json, TYPE_URLS.cluster)).toThrow();
  });
  test('bytes', () => {
    expect(() => responseFromBytes(Uint8Array.of(0, 1), TYPE_URLS.cluster)).toThrow();
    const packed = pack('envoy.service.discovery.v3.DiscoveryResponse', { versionInfo: '3', resources: [] });
    expect(responseFromBytes(packed.value, TYPE_URLS.cluster)).toMatchObject({ versionInfo: '3', typeUrl: TYPE_URLS.cluster });
  });
});

test('whatever the resources are: as many come out as went in, and nothing is thrown', () => {
  const types = fc.constantFrom(...Object.values(TYPE_URLS), RESOURCE_TYPE_URL, 'type.googleapis.com/acme.X', '');
  const json = fc.jsonValue({ maxDepth: 3 });
  const keys = fc.constantFrom(
    'name',
    'cluster_name',
    'resource',
    'lb_policy',
    'endpoints',
    'virtualHosts',
    'typed_config',
    '__proto__',
    'zz',
  );
  const entry = fc.oneof(
    json,
    fc.tuple(types, fc.dictionary(keys, json)).map(([type, rest]) => ({ ...rest, '@type': type })),
  );
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 4 }), (resources) => {
      expect(read({ resources }).resources).toHaveLength(resources.length);
    }),
  );
});
