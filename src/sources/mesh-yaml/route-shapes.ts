/** The part of the table of keys that says what a route can do; see `shapes.ts`. */
import {
  text,
  list,
  shape,
  oneOf,
  integer,
  either,
  BOOLEAN,
  DURATION,
  POSITIVE_DURATION,
  PERCENT,
  PORT,
  header,
  headerValues,
  textMatches,
  labels,
  method,
  pathPattern,
} from './spec-parts.ts';
import type { ShapeSpec } from './type-spec.ts';

export const HTTP_CONDITIONS = [
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'refused-stream',
  'retriable-4xx',
  'envoy-ratelimited',
] as const;
export const GRPC_CONDITIONS = ['cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted', 'unavailable'] as const;

export const ROUTE_SHAPES = {
  route: {
    keys: {
      name: { type: text('canary'), doc: 'Shown in metrics, spans and messages.', default: 'the match in short', example: 'canary' },
      match: {
        type: shape('match'),
        doc: 'All parts must match.',
        default: 'every request',
        example: '{ path: /reviews/**, headers: { x-user: ana } }',
      },
      to: {
        type: shape('destination'),
        doc: 'Where to send it.',
        default: 'all endpoints of this service',
        example: '{ labels: { version: v2 } }',
      },
      split: {
        type: list(shape('share'), true),
        doc: 'Destinations with weights.',
        example: '[{ weight: 90, labels: { version: v1 } }, { weight: 10, labels: { version: v2 } }]',
      },
      timeout: {
        type: DURATION,
        doc: 'Limit for the call with all its attempts. 0s: none.',
        default: 'that of the service',
        example: '2s',
      },
      retries: {
        type: shape('retries'),
        doc: 'When and how often to try again.',
        default: 'that of the service',
        example: '{ attempts: 3, on: [connect-failure, 503] }',
      },
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
      path: {
        type: either(pathPattern, shape('path match')),
        doc: '`/x` that path exactly; `/x/**` that path and everything below; or a map. The query does not count.',
        default: 'any',
        example: '/reviews/**',
      },
      method: { type: either(method, list(method, true)), doc: 'One method, or a list.', default: 'any', example: '[GET, HEAD]' },
      headers: {
        type: textMatches('header name', true),
        doc: 'By name: the exact value, or a map.',
        default: 'any',
        example: '{ x-user: ana }',
      },
      query: {
        type: textMatches('query parameter', false),
        doc: 'By parameter: the exact value, or a map.',
        default: 'any',
        example: '{ version: "2" }',
      },
    },
    later: {
      fraction: 'Matching a share of requests comes with a later release; use split',
      cookies: 'Cookie matching comes with a later release; match the header cookie by regex',
    },
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
      on: {
        type: list({ kind: 'condition', values: [...HTTP_CONDITIONS, ...GRPC_CONDITIONS] }, true),
        doc: `What is tried again: status codes from 400 to 599, ${[...HTTP_CONDITIONS, ...GRPC_CONDITIONS].map((name) => `\`${name}\``).join(', ')}.`,
        default: '[connect-failure, refused-stream, unavailable]',
        example: '[connect-failure, 503]',
      },
      perTry: { type: POSITIVE_DURATION, doc: 'Limit for one attempt. HTTP only, as gRPC has none.', default: 'none', example: '500ms' },
      budget: {
        type: PERCENT,
        doc: 'Retries in flight may be at most this share of all requests in flight, but at least 3. One value per destination; replaces limits.maxRetries.',
        default: 'none',
        example: '20%',
      },
      backoff: {
        type: shape('backoff'),
        doc: 'Pause before a retry: random, and growing.',
        default: '{ base: 25ms, max: 250ms }',
        example: '{ base: 100ms }',
      },
    },
  },
  backoff: {
    keys: {
      base: {
        type: POSITIVE_DURATION,
        doc: 'The first pause is random between 0 and this; later ones double.',
        default: '25ms',
        example: '100ms',
      },
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
      regex: {
        type: shape('rewrite regex'),
        doc: 'Replaces what a regular expression finds in the path.',
        example: '{ pattern: "^/old/", substitution: /new/ }',
      },
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
} satisfies Record<string, ShapeSpec>;
