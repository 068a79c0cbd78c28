/**
 * The table of every key of `mesh.yaml`: one source for the reader, the JSON Schema and the reference page (tests compare the three).
 * Follows landscape.md §4.3. A key whose feature is not there yet stands under `later`.
 */
import { ROUTE_SHAPES } from './route-shapes.ts';
import {
  text,
  pattern,
  list,
  shape,
  oneOf,
  integer,
  either,
  DURATION,
  POSITIVE_DURATION,
  PERCENT,
  PORT,
  textMatches,
  labels,
  method,
  spiffe,
  spiffePattern,
  pathPattern,
  mtls,
} from './spec-parts.ts';
import type { ShapeSpec } from './type-spec.ts';

export const SHAPES: Readonly<Record<string, ShapeSpec>> = Object.freeze({
  file: {
    keys: {
      version: { type: integer(1, 1), doc: 'Version of this format.', required: true, example: '1' },
      include: {
        type: list(text('*.svc.cluster.local')),
        doc: 'Hosts that belong to the mesh: names, or patterns that begin or end in `*`. All others pass through untouched.',
        default: 'the hosts of the services',
        example: '[reviews, "*.svc.cluster.local"]',
      },
      startTimeout: {
        type: DURATION,
        doc: 'How long a call to an included host waits for the first configuration.',
        default: '15s',
        example: '5s',
      },
      identity: {
        type: shape('identity'),
        doc: 'Who this process is: its trust domain and certificate files. Needed for `mtls: strict` without a control plane.',
      },
      services: {
        type: { kind: 'map', of: shape('service'), keys: 'service name' },
        doc: 'What the application calls, by a name of your choice.',
      },
      inbound: { type: list(shape('inbound')), doc: 'What the application serves, by port.' },
      resources: { type: list({ kind: 'raw' }), doc: 'Envoy resources as they are: YAML of the proto-JSON form, each with `@type`.' },
    },
    later: {
      extensions: 'Extensions are given in code: createMesh({ filters, lbPolicies })',
      dashboard: 'The dashboard comes with a later release',
    },
  },
  identity: {
    keys: {
      trustDomain: {
        type: pattern(/^[a-z0-9._-]+$/, 'a trust domain (lower-case letters, digits, dots, dashes)', 'dev'),
        doc: 'SPIFFE trust domain; also that of the test CA of `inmesh serve`.',
        default: 'dev',
        example: 'prod.example.com',
      },
      certificate: {
        type: text('certs/web.pem'),
        doc: 'PEM file with the certificate chain, relative to this file. Read again when it changes.',
        example: 'certs/web.pem',
      },
      key: { type: text('certs/web.key'), doc: 'PEM file with the private key.', example: 'certs/web.key' },
      ca: { type: text('certs/ca.pem'), doc: 'PEM file with the trusted certificates.', example: 'certs/ca.pem' },
    },
    later: { workloadApi: 'Identities from a SPIFFE Workload API come with a later release; use certificate, key and ca' },
  },
  service: {
    keys: {
      hosts: {
        type: list(text('reviews'), true),
        doc: 'Authorities that lead here, as the application writes them: with a port only if the port is not the default one. `reviews` also serves `reviews:8080`.',
        default: 'the name of the service',
        example: '[reviews, "reviews.default.svc.cluster.local:9080"]',
      },
      endpoints: {
        type: list(either(text('127.0.0.1:9080'), shape('endpoint'))),
        doc: 'Where it runs: `host:port`, or a map.',
        default: '[]',
        example: '[127.0.0.1:9080, { address: "127.0.0.1:9081", labels: { version: v2 } }]',
      },
      lb: {
        type: {
          kind: 'enum',
          values: ['round-robin', 'least-request', 'random'],
          later: ['peak-ewma', 'ring-hash', 'maglev', 'pick-first', 'weighted-round-robin'],
        },
        doc: 'How an endpoint is chosen. Weights of endpoints count, except with random.',
        default: 'round-robin',
        example: 'least-request',
      },
      protocol: {
        type: oneOf('http', 'http2', 'grpc'),
        doc: 'What the endpoints speak: HTTP/1.1, HTTP/2, or gRPC (over HTTP/2).',
        default: 'http',
        example: 'grpc',
      },
      routes: {
        type: list(shape('route')),
        doc: 'Rules in order; the first that matches decides. A request that none matches fails with `route_not_found`.',
        default: 'everything goes to all endpoints',
        example: '[{ match: { path: /v2/** }, to: { labels: { version: v2 } } }]',
      },
      timeout: {
        type: DURATION,
        doc: 'Limit for a call with all its attempts, for routes that set none. 0s: none.',
        default: 'none',
        example: '2s',
      },
      retries: { type: shape('retries'), doc: 'For routes that set none.', default: 'none' },
      outlier: { type: shape('outlier'), doc: 'Takes endpoints that keep failing out of balancing for a while.', default: 'none' },
      limits: {
        type: shape('limits'),
        doc: 'Most that may be in flight (circuit breaking in the Envoy sense). What is beyond fails at once.',
      },
      breaker: { type: shape('breaker'), doc: 'Opens when too many attempts fail (opossum).', default: 'none' },
      mtls: { ...mtls, doc: 'strict: TLS with certificates on both sides, never plaintext.', example: 'strict' },
      identity: {
        type: either(spiffe, list(spiffe, true)),
        doc: 'SPIFFE id that the endpoints must prove, or a list of them. With `mtls: strict`.',
        default: 'spiffe://TRUST-DOMAIN/SERVICE',
        example: 'spiffe://dev/reviews',
      },
      connectTimeout: { type: POSITIVE_DURATION, doc: 'Limit for opening a connection.', default: '5s', example: '250ms' },
      panic: {
        type: PERCENT,
        doc: 'With less than this share of healthy endpoints, health is ignored. 0%: never.',
        default: '50%',
        example: '0%',
      },
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
      zone: {
        type: pattern(/^[^/]+(\/[^/]+){0,2}$/, '`zone`, `region/zone` or `region/zone/sub-zone`', 'eu-1/a'),
        doc: '`zone`, `region/zone` or `region/zone/sub-zone`.',
        default: 'none',
        example: 'eu-1/a',
      },
      health: {
        type: oneOf('unknown', 'healthy', 'unhealthy', 'draining', 'degraded'),
        doc: 'Known state. unhealthy and draining endpoints get no traffic.',
        default: 'unknown',
        example: 'draining',
      },
    },
  },
  ...ROUTE_SHAPES,
  outlier: {
    keys: {
      consecutive5xx: { type: integer(1), doc: 'Failures in a row until an endpoint is ejected.', default: '5', example: '3' },
      ejection: {
        type: POSITIVE_DURATION,
        doc: 'How long the first ejection lasts; the next ones last longer, up to 300s.',
        default: '30s',
        example: '10s',
      },
      maxEjected: {
        type: PERCENT,
        doc: 'At most this share of the endpoints is ejected at once, but always one may be.',
        default: '10%',
        example: '50%',
      },
      interval: { type: POSITIVE_DURATION, doc: 'How often it is looked whether an ejection is over.', default: '10s', example: '1s' },
    },
    later: {
      successRate: 'Ejection by success rate comes with a later release',
      consecutiveGatewayFailure: 'Ejection by gateway failures comes with a later release; consecutive5xx counts them too',
    },
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
      errorRate: {
        type: { kind: 'percent', positive: true },
        doc: 'Opens when more than this share of attempts failed.',
        default: '50%',
        example: '25%',
      },
      volume: { type: integer(1), doc: 'Attempts in the window before it may open.', default: '20', example: '10' },
      reset: { type: POSITIVE_DURATION, doc: 'Until one attempt is let through to try.', default: '10s', example: '5s' },
      window: { type: POSITIVE_DURATION, doc: 'How far back attempts count.', default: '10s', example: '30s' },
    },
  },
  inbound: {
    keys: {
      port: { type: PORT, doc: 'Port that the application listens on.', required: true, example: '8080' },
      host: {
        type: text('127.0.0.1'),
        doc: 'Address that it listens on, where it is one in particular.',
        default: 'any',
        example: '127.0.0.1',
      },
      mtls: { ...mtls, doc: 'strict: only TLS, and callers must show a certificate of the trust domain.', example: 'strict' },
      allow: {
        type: list(shape('rule')),
        doc: 'Only what one of these rules describes is let in. An empty list lets nobody in.',
        default: 'everything',
        example: '[{ from: [spiffe://dev/web], methods: [GET] }]',
      },
      deny: {
        type: list(shape('rule')),
        doc: 'What one of these rules describes is refused with 403; looked at before allow.',
        default: 'nothing',
        example: '[{ paths: [/admin/**] }]',
      },
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
      from: {
        type: list(spiffePattern, true),
        doc: 'SPIFFE ids of the caller; `spiffe://dev/web/*` is everybody below, `*` is everybody who proved an identity. With `mtls: strict`.',
        default: 'anybody',
        example: '[spiffe://dev/web]',
      },
      methods: { type: list(method, true), doc: 'HTTP methods.', default: 'any', example: '[GET, HEAD]' },
      paths: { type: list(pathPattern, true), doc: 'Paths as in match: `/x` or `/x/**`.', default: 'any', example: '[/reviews/**]' },
      headers: { type: textMatches('header name', true), doc: 'As in match.', default: 'any', example: '{ x-debug: { present: true } }' },
    },
  },
} satisfies Record<string, ShapeSpec>);
