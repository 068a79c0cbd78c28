/**
 * The table of every key of `mesh.yaml`: one source for the reader, the JSON Schema and the reference page (tests compare the three).
 * Follows landscape.md §4.3. A key whose feature is not there yet stands under `later`.
 */
import type { ShapeSpec, TypeSpec } from './type-spec.ts';

export const HTTP_CONDITIONS = [
  '5xx', 'gateway-error', 'reset', 'reset-before-request', 'connect-failure', 'refused-stream', 'retriable-4xx', 'envoy-ratelimited',
] as const;
export const GRPC_CONDITIONS = ['cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted', 'unavailable'] as const;

const text = (example: string): TypeSpec => ({ kind: 'text', example });
const pattern = (regex: RegExp, means: string, example: string): TypeSpec => ({ kind: 'text', pattern: regex, means, example });
const list = (of: TypeSpec, notEmpty = false): TypeSpec => ({ kind: 'list', of, notEmpty });
const shape = (name: string): TypeSpec => ({ kind: 'shape', name });
const oneOf = (...values: string[]): TypeSpec => ({ kind: 'enum', values });
const integer = (min: number, max = 0xffff_ffff): TypeSpec => ({ kind: 'integer', min, max });
const either = (scalar: TypeSpec, other: TypeSpec): TypeSpec => ({ kind: 'either', scalar, other });
const BOOLEAN: TypeSpec = { kind: 'boolean' };
const DURATION: TypeSpec = { kind: 'duration' };
const POSITIVE_DURATION: TypeSpec = { kind: 'duration', positive: true };
const PERCENT: TypeSpec = { kind: 'percent' };
const PORT = integer(1, 65_535);

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const header = pattern(HEADER_NAME, 'a header name', 'x-user');
const headerValues: TypeSpec = { kind: 'map', of: text('ana'), keys: 'header name', lowerCase: true };
const textMatches = (keys: string, lowerCase: boolean): TypeSpec => ({ kind: 'map', of: either(text('ana'), shape('text match')), keys, lowerCase });
const labels: TypeSpec = { kind: 'map', of: text('v2'), keys: 'label' };
const method = pattern(/^[A-Z][A-Z-]*$/, 'an HTTP method in capitals', 'GET');
const spiffe = pattern(/^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)+$/, 'a SPIFFE id', 'spiffe://dev/reviews');
const spiffePattern = pattern(/^(\*|spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)*(\/\*)?)$/, 'a SPIFFE id, perhaps ending in /*', 'spiffe://dev/web');
const pathPattern = pattern(/^\//, 'a path that begins with /', '/reviews/**');
const mtls = { type: oneOf('strict', 'off'), default: 'off' } as const;

export const SHAPES: Readonly<Record<string, ShapeSpec>> = Object.freeze({
  file: {
    keys: {
      version: { type: integer(1, 1), doc: 'Version of this format.', required: true, example: '1' },
      include: { type: list(text('*.svc.cluster.local')), doc: 'Hosts that belong to the mesh: names, or patterns that begin or end in `*`. All others pass through untouched.', default: 'the hosts of the services', example: '[reviews, "*.svc.cluster.local"]' },
      startTimeout: { type: DURATION, doc: 'How long a call to an included host waits for the first configuration.', default: '15s', example: '5s' },
      identity: { type: shape('identity'), doc: 'Who this process is: its trust domain and certificate files. Needed for `mtls: strict` without a control plane.' },
      services: { type: { kind: 'map', of: shape('service'), keys: 'service name' }, doc: 'What the application calls, by a name of your choice.' },
      inbound: { type: list(shape('inbound')), doc: 'What the application serves, by port.' },
      resources: { type: list({ kind: 'raw' }), doc: 'Envoy resources as they are: YAML of the proto-JSON form, each with `@type`.' },
    },
    later: { extensions: 'Extensions are given in code: createMesh({ filters, lbPolicies })', dashboard: 'The dashboard comes with a later release' },
  },
  identity: {
    keys: {
      trustDomain: { type: pattern(/^[a-z0-9._-]+$/, 'a trust domain (lower-case letters, digits, dots, dashes)', 'dev'), doc: 'SPIFFE trust domain; also that of the test CA of `inmesh serve`.', default: 'dev', example: 'prod.example.com' },
      certificate: { type: text('certs/web.pem'), doc: 'PEM file with the certificate chain, relative to this file. Read again when it changes.', example: 'certs/web.pem' },
      key: { type: text('certs/web.key'), doc: 'PEM file with the private key.', example: 'certs/web.key' },
      ca: { type: text('certs/ca.pem'), doc: 'PEM file with the trusted certificates.', example: 'certs/ca.pem' },
    },
    later: { workloadApi: 'Identities from a SPIFFE Workload API come with a later release; use certificate, key and ca' },
  },
  service: {
    keys: {
      hosts: { type: list(text('reviews'), true), doc: 'Authorities that lead here, as the application writes them: with a port only if the port is not the default one. `reviews` also serves `reviews:8080`.', default: 'the name of the service', example: '[reviews, "reviews.default.svc.cluster.local:9080"]' },
      endpoints: { type: list(either(text('127.0.0.1:9080'), shape('endpoint'))), doc: 'Where it runs: `host:port`, or a map.', default: '[]', example: '[127.0.0.1:9080, { address: "127.0.0.1:9081", labels: { version: v2 } }]' },
      lb: { type: { kind: 'enum', values: ['round-robin', 'least-request', 'random'], later: ['peak-ewma', 'ring-hash', 'maglev', 'pick-first', 'weighted-round-robin'] }, doc: 'How an endpoint is chosen. Weights of endpoints count, except with random.', default: 'round-robin', example: 'least-request' },
      protocol: { type: oneOf('http', 'http2', 'grpc'), doc: 'What the endpoints speak: HTTP/1.1, HTTP/2, or gRPC (over HTTP/2).', default: 'http', example: 'grpc' },
      routes: { type: list(shape('route')), doc: 'Rules in order; the first that matches decides. A request that none matches fails with `route_not_found`.', default: 'everything goes to all endpoints', example: '[{ match: { path: /v2/** }, to: { labels: { version: v2 } } }]' },
      timeout: { type: DURATION, doc: 'Limit for a call with all its attempts, for routes that set none. 0s: none.', default: 'none', example: '2s' },
      retries: { type: shape('retries'), doc: 'For routes that set none.', default: 'none' },
      outlier: { type: shape('outlier'), doc: 'Takes endpoints that keep failing out of balancing for a while.', default: 'none' },
      limits: { type: shape('limits'), doc: 'Most that may be in flight (circuit breaking in the Envoy sense). What is beyond fails at once.' },
      breaker: { type: shape('breaker'), doc: 'Opens when too many attempts fail (opossum).', default: 'none' },
      mtls: { ...mtls, doc: 'strict: TLS with certificates on both sides, never plaintext.', example: 'strict' },
      identity: { type: either(spiffe, list(spiffe, true)), doc: 'SPIFFE id that the endpoints must prove, or a list of them. With `mtls: strict`.', default: 'spiffe://TRUST-DOMAIN/SERVICE', example: 'spiffe://dev/reviews' },
      connectTimeout: { type: POSITIVE_DURATION, doc: 'Limit for opening a connection.', default: '5s', example: '250ms' },
      panic: { type: PERCENT, doc: 'With less than this share of healthy endpoints, health is ignored. 0%: never.', default: '50%', example: '0%' },
    },
    later: {
      rateLimit: 'Rate limits come with a later release; limits.maxRequests bounds what is in flight',
      healthCheck: 'Active health checks come with a later release; outlier ejects failing endpoints meanwhile',
      slowStart: 'Slow start comes with a later release',
      hedge: 'Hedging comes with a later release; use retries with perTry meanwhile',
      mirror: 'Mirroring comes with a later release',
      faults: 'Fault injection comes with a later release; a route with respond can stand in for an abort',
      dns: 'Endpoints from DNS come with a later release; list the endpoints',
      locality: 'Locality weights come with a later release',
    },
  },
  endpoint: {
    keys: {
      address: { type: text('127.0.0.1:9080'), doc: '`host:port`; IPv6 in brackets.', required: true, example: '"[::1]:9080"' },
      labels: { type: labels, doc: 'For `to` and `split`.', default: '{}', example: '{ version: v2 }' },
      weight: { type: integer(1, 128), doc: 'Share of traffic, relative to the other endpoints.', default: '1', example: '3' },
      zone: { type: pattern(/^[^/]+(\/[^/]+){0,2}$/, '`zone`, `region/zone` or `region/zone/sub-zone`', 'eu-1/a'), doc: '`zone`, `region/zone` or `region/zone/sub-zone`.', default: 'none', example: 'eu-1/a' },
      health: { type: oneOf('unknown', 'healthy', 'unhealthy', 'draining', 'degraded'), doc: 'Known state. unhealthy and draining endpoints get no traffic.', default: 'unknown', example: 'draining' },
    },
  },
  route: {
    keys: {
      name: { type: text('canary'), doc: 'Shown in metrics, spans and messages.', default: 'the match in short', example: 'canary' },
      match: { type: shape('match'), doc: 'All parts must match.', default: 'every request', example: '{ path: /reviews/**, headers: { x-user: ana } }' },
      to: { type: shape('destination'), doc: 'Where to send it.', default: 'all endpoints of this service', example: '{ labels: { version: v2 } }' },
      split: { type: list(shape('share'), true), doc: 'Destinations with weights.', example: '[{ weight: 90, labels: { version: v1 } }, { weight: 10, labels: { version: v2 } }]' },
      timeout: { type: DURATION, doc: 'Limit for the call with all its attempts. 0s: none.', default: 'that of the service', example: '2s' },
      retries: { type: shape('retries'), doc: 'When and how often to try again.', default: 'that of the service', example: '{ attempts: 3, on: [connect-failure, 503] }' },
      redirect: { type: shape('redirect'), doc: 'Answer with a redirect.', example: '{ scheme: https }' },
      respond: { type: shape('respond'), doc: 'Answer without any upstream.', example: '{ status: 503, body: closed }' },
      rewrite: { type: shape('rewrite'), doc: 'Change path or host before sending.', example: '{ path: /v1 }' },
      headers: { type: shape('route headers'), doc: 'Change headers of request and response.' },
    },
    later: {
      mirror: 'Mirroring comes with a later release',
      hedge: 'Hedging comes with a later release; use retries with perTry meanwhile',
      faults: 'Fault injection comes with a later release; respond can stand in for an abort',
      rateLimit: 'Rate limits come with a later release',
      jwt: 'JWT checks come with a later release',
      sticky: 'Sticky sessions come with a later release',
    },
  },
  match: {
    keys: {
      path: { type: either(pathPattern, shape('path match')), doc: '`/x` that path exactly; `/x/**` that path and everything below; or a map. The query does not count.', default: 'any', example: '/reviews/**' },
      method: { type: either(method, list(method, true)), doc: 'One method, or a list.', default: 'any', example: '[GET, HEAD]' },
      headers: { type: textMatches('header name', true), doc: 'By name: the exact value, or a map.', default: 'any', example: '{ x-user: ana }' },
      query: { type: textMatches('query parameter', false), doc: 'By parameter: the exact value, or a map.', default: 'any', example: '{ version: "2" }' },
    },
    later: { fraction: 'Matching a share of requests comes with a later release; use split', cookies: 'Cookie matching comes with a later release; match the header cookie by regex' },
  },
  'path match': {
    keys: {
      exact: { type: pathPattern, doc: 'The whole path.', example: '/healthz' },
      prefix: { type: pathPattern, doc: 'The beginning of the path, also in the middle of a segment.', example: '/api' },
      regex: { type: text('/item/[0-9]+'), doc: 'RE2; must match the whole path.', example: '/item/[0-9]+' },
      ignoreCase: { type: BOOLEAN, doc: 'Without effect on regex.', default: 'false', example: 'true' },
    },
    oneOf: ['exact', 'prefix', 'regex'],
  },
  'text match': {
    keys: {
      exact: { type: text('ana'), doc: 'The whole value.', example: 'ana' },
      prefix: { type: text('a'), doc: 'Its beginning.', example: 'an' },
      suffix: { type: text('a'), doc: 'Its end.', example: 'na' },
      contains: { type: text('n'), doc: 'A part of it.', example: 'n' },
      regex: { type: text('a.*'), doc: 'RE2; must match the whole value.', example: 'a.*' },
      present: { type: BOOLEAN, doc: 'true: it is there, whatever its value. false: it is not there.', example: 'true' },
      ignoreCase: { type: BOOLEAN, doc: 'Without effect on regex and present.', default: 'false', example: 'true' },
      not: { type: BOOLEAN, doc: 'Turns the answer round; headers only.', default: 'false', example: 'true' },
    },
    oneOf: ['exact', 'prefix', 'suffix', 'contains', 'regex', 'present'],
  },
  destination: {
    keys: {
      service: { type: text('ratings'), doc: 'Another service of this file.', default: 'this service', example: 'ratings' },
      labels: { type: labels, doc: 'Only endpoints that have all these labels.', default: 'all endpoints', example: '{ version: v2 }' },
    },
  },
  share: {
    keys: {
      weight: { type: integer(0), doc: 'Relative to the sum of all weights of the split.', required: true, example: '90' },
      service: { type: text('ratings'), doc: 'Another service of this file.', default: 'this service', example: 'ratings' },
      labels: { type: labels, doc: 'Only endpoints that have all these labels.', default: 'all endpoints', example: '{ version: v1 }' },
    },
  },
  retries: {
    keys: {
      attempts: { type: integer(1, 100), doc: 'Tries in all, the first included.', default: '2', example: '3' },
      on: { type: list({ kind: 'condition', values: [...HTTP_CONDITIONS, ...GRPC_CONDITIONS] }, true), doc: `What is tried again: status codes from 400 to 599, ${[...HTTP_CONDITIONS, ...GRPC_CONDITIONS].map((name) => `\`${name}\``).join(', ')}.`, default: '[connect-failure, refused-stream, unavailable]', example: '[connect-failure, 503]' },
      perTry: { type: POSITIVE_DURATION, doc: 'Limit for one attempt. HTTP only, as gRPC has none.', default: 'none', example: '500ms' },
      budget: { type: PERCENT, doc: 'Retries in flight may be at most this share of all requests in flight, but at least 3. One value per destination; replaces limits.maxRetries.', default: 'none', example: '20%' },
      backoff: { type: shape('backoff'), doc: 'Pause before a retry: random, and growing.', default: '{ base: 25ms, max: 250ms }', example: '{ base: 100ms }' },
    },
  },
  backoff: {
    keys: {
      base: { type: POSITIVE_DURATION, doc: 'The first pause is random between 0 and this; later ones double.', default: '25ms', example: '100ms' },
      max: { type: POSITIVE_DURATION, doc: 'No pause is longer.', default: 'ten times base', example: '2s' },
    },
  },
  redirect: {
    keys: {
      status: { type: oneOf('301', '302', '303', '307', '308'), doc: 'Status code.', default: '301', example: '308' },
      scheme: { type: oneOf('http', 'https'), doc: 'New scheme.', default: 'as it was', example: 'https' },
      host: { type: text('www.example.com'), doc: 'New host.', default: 'as it was', example: 'www.example.com' },
      port: { type: PORT, doc: 'New port.', default: 'as it was', example: '8443' },
      path: { type: pathPattern, doc: 'New path.', default: 'as it was', example: '/new' },
      prefix: { type: pathPattern, doc: 'Replaces the part of the path that matched.', default: 'as it was', example: '/v2' },
      stripQuery: { type: BOOLEAN, doc: 'Drop the query.', default: 'false', example: 'true' },
    },
  },
  respond: {
    keys: {
      status: { type: integer(200, 599), doc: 'Status code.', required: true, example: '503' },
      body: { type: text('closed'), doc: 'Text of the answer; at most 4096 bytes.', default: 'empty', example: 'closed' },
    },
  },
  rewrite: {
    keys: {
      path: { type: pathPattern, doc: 'Replaces the part of the path that matched (all of it for an exact match).', example: '/v1' },
      regex: { type: shape('rewrite regex'), doc: 'Replaces what a regular expression finds in the path.', example: '{ pattern: "^/old/", substitution: /new/ }' },
      host: { type: text('reviews.internal'), doc: 'New host header.', default: 'as it was', example: 'reviews.internal' },
    },
  },
  'rewrite regex': {
    keys: {
      pattern: { type: text('^/old/'), doc: 'RE2.', required: true, example: '^/old/' },
      substitution: { type: text('/new/'), doc: 'New text; `\\1` is the first group.', required: true, example: '/new/' },
    },
  },
  'route headers': {
    keys: {
      request: { type: shape('header changes'), doc: 'On the way to the endpoint.', example: '{ set: { x-canary: "1" } }' },
      response: { type: shape('header changes'), doc: 'On the way back.', example: '{ remove: [server] }' },
    },
  },
  'header changes': {
    keys: {
      set: { type: headerValues, doc: 'Replaces all values of a header.', example: '{ x-canary: "1" }' },
      add: { type: headerValues, doc: 'Adds a value to a header.', example: '{ via: inmesh }' },
      remove: { type: list(header), doc: 'Takes headers away.', example: '[server]' },
    },
  },
  outlier: {
    keys: {
      consecutive5xx: { type: integer(1), doc: 'Failures in a row until an endpoint is ejected.', default: '5', example: '3' },
      ejection: { type: POSITIVE_DURATION, doc: 'How long the first ejection lasts; the next ones last longer, up to 300s.', default: '30s', example: '10s' },
      maxEjected: { type: PERCENT, doc: 'At most this share of the endpoints is ejected at once, but always one may be.', default: '10%', example: '50%' },
      interval: { type: POSITIVE_DURATION, doc: 'How often it is looked whether an ejection is over.', default: '10s', example: '1s' },
    },
    later: { successRate: 'Ejection by success rate comes with a later release', consecutiveGatewayFailure: 'Ejection by gateway failures comes with a later release; consecutive5xx counts them too' },
  },
  limits: {
    keys: {
      maxRequests: { type: integer(1), doc: 'Attempts in flight.', default: '1024', example: '100' },
      maxPending: { type: integer(1), doc: 'Attempts that wait for a connection.', default: '1024', example: '10' },
      maxRetries: { type: integer(0), doc: 'Retries in flight.', default: '3', example: '10' },
    },
    later: { maxConnections: 'Connections are not limited yet; use maxRequests' },
  },
  breaker: {
    keys: {
      errorRate: { type: { kind: 'percent', positive: true }, doc: 'Opens when more than this share of attempts failed.', default: '50%', example: '25%' },
      volume: { type: integer(1), doc: 'Attempts in the window before it may open.', default: '20', example: '10' },
      reset: { type: POSITIVE_DURATION, doc: 'Until one attempt is let through to try.', default: '10s', example: '5s' },
      window: { type: POSITIVE_DURATION, doc: 'How far back attempts count.', default: '10s', example: '30s' },
    },
  },
  inbound: {
    keys: {
      port: { type: PORT, doc: 'Port that the application listens on.', required: true, example: '8080' },
      host: { type: text('127.0.0.1'), doc: 'Address that it listens on, where it is one in particular.', default: 'any', example: '127.0.0.1' },
      mtls: { ...mtls, doc: 'strict: only TLS, and callers must show a certificate of the trust domain.', example: 'strict' },
      allow: { type: list(shape('rule')), doc: 'Only what one of these rules describes is let in. An empty list lets nobody in.', default: 'everything', example: '[{ from: [spiffe://dev/web], methods: [GET] }]' },
      deny: { type: list(shape('rule')), doc: 'What one of these rules describes is refused with 403; looked at before allow.', default: 'nothing', example: '[{ paths: [/admin/**] }]' },
    },
    later: {
      jwt: 'JWT checks come with a later release',
      rateLimit: 'Rate limits come with a later release',
      faults: 'Fault injection comes with a later release',
      timeout: 'Inbound time limits come with a later release',
    },
  },
  rule: {
    keys: {
      from: { type: list(spiffePattern, true), doc: 'SPIFFE ids of the caller; `spiffe://dev/web/*` is everybody below, `*` is everybody who proved an identity. With `mtls: strict`.', default: 'anybody', example: '[spiffe://dev/web]' },
      methods: { type: list(method, true), doc: 'HTTP methods.', default: 'any', example: '[GET, HEAD]' },
      paths: { type: list(pathPattern, true), doc: 'Paths as in match: `/x` or `/x/**`.', default: 'any', example: '[/reviews/**]' },
      headers: { type: textMatches('header name', true), doc: 'As in match.', default: 'any', example: '{ x-debug: { present: true } }' },
    },
  },
} satisfies Record<string, ShapeSpec>);
