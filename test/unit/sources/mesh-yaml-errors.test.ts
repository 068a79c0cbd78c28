/** Every way in which a `mesh.yaml` can be wrong: `§` marks where the problem must point; message and cure must say these words. */
import { describe, expect, test } from 'vitest';
import { codeFrame, describeProblem, printProblem } from '../../../src/sources/mesh-yaml/problem.ts';
import { loadMeshYaml } from '../../../src/sources/mesh-yaml/load.ts';

const service = (body: string): string =>
  `version: 1\nservices:\n  reviews:\n    endpoints:\n      - { address: 127.0.0.1:9080, labels: { version: v1 } }\n      - { address: 127.0.0.1:9081, labels: { version: v2, zone: b } }\n${body.replace(/^/gm, '    ')}\n`;
const route = (body: string): string => service(`routes:\n  - ${body}`);
const inbound = (body: string): string => `version: 1\ninbound:\n  - ${body}\n`;

/** Name, file with mark, path, message, cure. */
const BAD: readonly (readonly [name: string, text: string, path: string, message: RegExp, cure: RegExp])[] = [
  // The file
  ['empty file', '§', '', /the file is empty/, /version: 1/],
  ['only a comment', '§# nothing', '', /the file is empty/, /version: 1/],
  ['a list', '§- a\n', '', /a list stands where a map/, /version, include/],
  ['no version', '§services: {}\n', '', /"version" is missing/, /version: 1/],
  ['wrong version', 'version: §2\n', 'version', /"2" is not 1/, /Write 1/],
  ['unknown key', 'version: 1\n§servces: {}\n', 'servces', /unknown key "servces"/, /Did you mean "services"\?/],
  ['unknown key, nothing near', 'version: 1\n§zzzzzz: {}\n', 'zzzzzz', /unknown key/, /Known keys: version, include/],
  ['prototype names are keys like others', 'version: 1\n§constructor: {}\n', 'constructor', /unknown key/, /Known keys/],
  ['key without value', 'version: 1\n§services:\n', 'services', /"services" has no value/, /take the key away/],
  ['tab as indent', 'version: 1\nservices:\n§\treviews: {}\n', '', /not YAML/, /spaces/],
  ['unclosed bracket', 'version: 1\ninclude: [a, b\n§', '', /not YAML/, /Close what was opened/],
  ['key twice', 'version: 1\n§version: 1\n', '', /not YAML: Map keys must be unique/, /Keep one/],
  ['alias of nothing', 'version: 1\ninclude: [§*local]\n', 'include[0]', /no anchor "&local"/, /quote/],
  ['two documents', 'version: 1\n§---\nversion: 1\n', '', /not YAML/, /one document/],
  ['start timeout without unit', 'version: 1\nstartTimeout: §15\n', 'startTimeout', /"15" is not a duration/, /15s for seconds/],
  ['include with a star inside', 'version: 1\ninclude: [§a*b]\n', 'include[0]', /\* in the middle/, /beginning or at the end/],
  ['include as URL', 'version: 1\ninclude: [§"http://a/b"]\n', 'include[0]', /not a host pattern/, /without a scheme/],
  ['not yet: extensions', 'version: 1\n§extensions: []\n', 'extensions', /not supported yet/, /in code/],
  // Identity
  [
    'certificate without key',
    'version: 1\nidentity: { certificate: §a.pem, ca: ca.pem }\n',
    'identity.certificate',
    /needs its key/,
    /identity\.key/,
  ],
  ['key without certificate', 'version: 1\nidentity: { key: §a.key }\n', 'identity.key', /needs its certificate/, /identity\.certificate/],
  ['certificate without CA', 'version: 1\nidentity: §{ certificate: a, key: b }\n', 'identity', /whom to trust/, /identity\.ca/],
  ['bad trust domain', 'version: 1\nidentity: { trustDomain: §Dev Domain }\n', 'identity.trustDomain', /not a trust domain/, /dev/],
  // Services
  ['services as a list', 'version: 1\nservices: §[reviews]\n', 'services', /a list stands where a map/, /service name/],
  ['service as text', 'version: 1\nservices:\n  reviews: §here\n', 'services.reviews', /"here" stands where a map/, /hosts, endpoints/],
  ['hosts as text', service('hosts: §reviews'), 'services.reviews.hosts', /"reviews" stands where a list/, /\[a, b\]/],
  ['no hosts', service('hosts: §[]'), 'services.reviews.hosts', /list is empty/, /Add an item/],
  ['host pattern', service('hosts: [§"*.local"]'), 'services.reviews.hosts[0]', /is a pattern/, /include/],
  ['host URL', service('hosts: [§"http://reviews"]'), 'services.reviews.hosts[0]', /is a URL/, /host or host:port/],
  ['bad host', service('hosts: [§"re views"]'), 'services.reviews.hosts[0]', /not a host name/, /reviews:9080/],
  [
    'service name that is no host',
    'version: 1\nservices:\n  my reviews:\n    §endpoints: []\n',
    'services.my reviews',
    /not a host name/,
    /Add hosts/,
  ],
  ['host twice', service('hosts: [reviews, §Reviews]'), 'services.reviews.hosts[1]', /stands here twice/, /one of the two/],
  [
    'host of two services',
    'version: 1\nservices:\n  a: { hosts: [x] }\n  b: { hosts: [§x] }\n',
    'services.b.hosts[0]',
    /belongs to service "a"/,
    /one service/,
  ],
  [
    'endpoint without port',
    'version: 1\nservices:\n  a:\n    endpoints: [§127.0.0.1]\n',
    'services.a.endpoints[0]',
    /not host:port/,
    /Add the port: 127\.0\.0\.1:8080/,
  ],
  [
    'endpoint URL',
    'version: 1\nservices:\n  a:\n    endpoints: [§"http://b:80"]\n',
    'services.a.endpoints[0]',
    /not host:port/,
    /without the scheme/,
  ],
  [
    'endpoint port too large',
    'version: 1\nservices:\n  a:\n    endpoints: [{ address: §"b:70000" }]\n',
    'services.a.endpoints[0].address',
    /not host:port/,
    /65535/,
  ],
  [
    'endpoint address that is none',
    'version: 1\nservices:\n  a:\n    endpoints: [§"1.2.3.400:80"]\n',
    'services.a.endpoints[0]',
    /not host:port/,
    /127\.0\.0\.1:9080/,
  ],
  [
    'IPv6 without brackets',
    'version: 1\nservices:\n  a:\n    endpoints: [§"::1:80"]\n',
    'services.a.endpoints[0]',
    /not host:port/,
    /brackets/,
  ],
  [
    'endpoint twice',
    'version: 1\nservices:\n  a:\n    endpoints: ["b:80", §"b:80"]\n',
    'services.a.endpoints[1]',
    /stands here twice/,
    /weight/,
  ],
  [
    'endpoint without address',
    'version: 1\nservices:\n  a:\n    endpoints: [§{ weight: 1 }]\n',
    'services.a.endpoints[0]',
    /"address" is missing/,
    /address:/,
  ],
  [
    'endpoint weight 0',
    'version: 1\nservices:\n  a:\n    endpoints: [{ address: "b:80", weight: §0 }]\n',
    'services.a.endpoints[0].weight',
    /whole number from 1 to 128/,
    /from 1 to 128/,
  ],
  [
    'endpoint health',
    'version: 1\nservices:\n  a:\n    endpoints: [{ address: "b:80", health: §helthy }]\n',
    'services.a.endpoints[0].health',
    /not one of/,
    /Did you mean "healthy"/,
  ],
  [
    'endpoint zone',
    'version: 1\nservices:\n  a:\n    endpoints: [{ address: "b:80", zone: §a/b/c/d }]\n',
    'services.a.endpoints[0].zone',
    /region\/zone/,
    /eu-1\/a/,
  ],
  [
    'lb not yet',
    service('lb: §peak-ewma'),
    'services.reviews.lb',
    /"peak-ewma" is not supported yet/,
    /round-robin, least-request, random/,
  ],
  ['lb misspelt', service('lb: §round-rubin'), 'services.reviews.lb', /not one of/, /Did you mean "round-robin"/],
  ['protocol', service('protocol: §h2'), 'services.reviews.protocol', /not one of http, http2, grpc/, /http2/],
  ['duration with a space', service('timeout: §2 sec'), 'services.reviews.timeout', /"2 sec" is not a duration/, /500ms, 2s/],
  ['connect timeout 0', service('connectTimeout: §0s'), 'services.reviews.connectTimeout', /more than 0/, /1ms/],
  ['percentage without sign', service('panic: §50'), 'services.reviews.panic', /not a percentage/, /20%/],
  ['percentage beyond 100', service('panic: §101%'), 'services.reviews.panic', /not a percentage/, /20%/],
  ['breaker that never closes', service('breaker: { errorRate: §0% }'), 'services.reviews.breaker.errorRate', /above 0%/, /20%/],
  [
    'identity without mTLS',
    service('identity: §spiffe://dev/reviews'),
    'services.reviews.identity',
    /only be checked over mutual TLS/,
    /mtls: strict/,
  ],
  [
    'identity that is no SPIFFE id',
    service('mtls: strict\nidentity: §reviews'),
    'services.reviews.identity',
    /not a SPIFFE id/,
    /spiffe:\/\/dev/,
  ],
  ['mTLS misspelt', service('mtls: §permissive'), 'services.reviews.mtls', /not one of strict, off/, /strict/],
  ['mTLS without certificates', service('mtls: §strict'), 'services.reviews.mtls', /needs certificates/, /inmesh serve/],
  ['rate limit not yet', service('§rateLimit: {}'), 'services.reviews.rateLimit', /not supported yet/, /later release/],
  ['outlier key', service('outlier: { §consecutive5x: 3 }'), 'services.reviews.outlier.consecutive5x', /unknown key/, /consecutive5xx/],
  ['limits of 0', service('limits: { maxRequests: §0 }'), 'services.reviews.limits.maxRequests', /from 1/, /whole number/],
  // Routes
  ['hedge not yet', route('§hedge: {}'), 'services.reviews.routes[0].hedge', /not supported yet/, /perTry/],
  ['mirror not yet', route('§mirror: {}'), 'services.reviews.routes[0].mirror', /not supported yet/, /later release/],
  ['faults not yet', route('§faults: {}'), 'services.reviews.routes[0].faults', /not supported yet/, /respond/],
  ['jwt not yet', route('§jwt: {}'), 'services.reviews.routes[0].jwt', /not supported yet/, /later release/],
  ['two actions', route('{ to: {}, redirect: §{ path: /x } }'), 'services.reviews.routes[0].redirect', /to and redirect/, /two routes/],
  ['timeout on an answer', route('{ respond: { status: 200 }, timeout: §1s }'), 'services.reviews.routes[0].timeout', /no effect/, /away/],
  ['unknown service', route('to: { service: §ratngs }'), 'services.reviews.routes[0].to.service', /unknown service "ratngs"/, /reviews/],
  [
    'unknown label',
    route('to: { labels: { verison: §v1 } }'),
    'services.reviews.routes[0].to.labels.verison',
    /no endpoint of "reviews" has a label "verison"/,
    /Did you mean "version"/,
  ],
  [
    'unknown label value',
    route('to: { labels: { version: §v3 } }'),
    'services.reviews.routes[0].to.labels.version',
    /has version=v3/,
    /Did you mean|Values of version/,
  ],
  [
    'labels that nobody has together',
    route('to: { labels: §{ version: v1, zone: b } }'),
    'services.reviews.routes[0].to.labels',
    /has all of version=v1, zone=b/,
    /Give an endpoint/,
  ],
  [
    'weights sum up to 0',
    route('split: §[{ weight: 0, labels: { version: v1 } }, { weight: 0, labels: { version: v2 } }]'),
    'services.reviews.routes[0].split',
    /all weights are 0/,
    /above 0/,
  ],
  [
    'weight missing',
    route('split: [§{ labels: { version: v1 } }]'),
    'services.reviews.routes[0].split[0]',
    /"weight" is missing/,
    /weight:/,
  ],
  [
    'weight negative',
    route('split: [{ weight: §-1, labels: { version: v1 } }]'),
    'services.reviews.routes[0].split[0].weight',
    /whole number/,
    /from 0/,
  ],
  [
    'weights too large',
    route('split: §[{ weight: 4294967295, labels: { version: v1 } }, { weight: 1, labels: { version: v2 } }]'),
    'services.reviews.routes[0].split',
    /sum up to 4294967296/,
    /4294967295/,
  ],
  ['split twice to the same', route('split: [{ weight: 1 }, §{ weight: 1 }]'), 'services.reviews.routes[0].split[1]', /twice/, /one entry/],
  ['path without slash', route('match: { path: §reviews }'), 'services.reviews.routes[0].match.path', /begins with \//, /\/reviews/],
  [
    'path with a star inside',
    route('match: { path: §/a/*/b }'),
    'services.reviews.routes[0].match.path',
    /\* where none may stand/,
    /regex/,
  ],
  ['path with query', route('match: { path: §"/a?b=c" }'), 'services.reviews.routes[0].match.path', /query/, /key query/],
  [
    'path of two kinds',
    route('match: { path: §{ exact: /a, prefix: /b } }'),
    'services.reviews.routes[0].match.path',
    /exactly one of exact, prefix, regex/,
    /Keep one/,
  ],
  ['bad regex', route('match: { path: { regex: §"/a(" } }'), 'services.reviews.routes[0].match.path.regex', /RE2/, /backslash/],
  [
    'regex with look-ahead',
    route('match: { path: { regex: §"/a(?=b)" } }'),
    'services.reviews.routes[0].match.path.regex',
    /RE2/,
    /look-around/,
  ],
  ['method in small letters', route('match: { method: §get }'), 'services.reviews.routes[0].match.method', /capitals/, /GET/],
  [
    'header name',
    route('match: { headers: { "x user": §ana } }'),
    'services.reviews.routes[0].match.headers.x user',
    /not a header name/,
    /no spaces/,
  ],
  [
    'header match without kind',
    route('match: { headers: { x-user: §{ ignoreCase: true } } }'),
    'services.reviews.routes[0].match.headers.x-user',
    /exactly one of exact/,
    /Add one/,
  ],
  [
    'header twice in other case',
    route('match: { headers: { x-user: a, §X-User: b } }'),
    'services.reviews.routes[0].match.headers.x-user',
    /twice/,
    /Keep one/,
  ],
  [
    'query match inverted',
    route('match: { query: { a: { exact: b, not: §true } } }'),
    'services.reviews.routes[0].match.query.a.not',
    /headers only/,
    /present: false/,
  ],
  ['retries of nothing', route('retries: { attempts: §0 }'), 'services.reviews.routes[0].retries.attempts', /from 1 to 100/, /from 1/],
  [
    'unknown condition',
    route('retries: { on: [§conect-failure] }'),
    'services.reviews.routes[0].retries.on[0]',
    /unknown retry condition/,
    /Did you mean "connect-failure"/,
  ],
  [
    'condition that is no error',
    route('retries: { on: [§200] }'),
    'services.reviews.routes[0].retries.on[0]',
    /not a status code from 400/,
    /503/,
  ],
  [
    'back-off upside down',
    route('retries: { backoff: { base: 1s, max: §500ms } }'),
    'services.reviews.routes[0].retries.backoff.max',
    /shorter than base/,
    /at least base/,
  ],
  [
    'two budgets',
    service('routes:\n  - { match: { path: /a }, retries: { budget: 10% } }\n  - { retries: { budget: §20% } }'),
    'services.reviews.routes[1].retries.budget',
    /20% here and 10%/,
    /one budget/,
  ],
  ['redirect to itself', route('redirect: §{ status: 302 }'), 'services.reviews.routes[0].redirect', /same URL/, /scheme, host/],
  ['redirect status', route('redirect: { status: §300, path: /x }'), 'services.reviews.routes[0].redirect.status', /not one of 301/, /30/],
  ['respond without status', route('respond: §{ body: x }'), 'services.reviews.routes[0].respond', /"status" is missing/, /status: 503/],
  [
    'body too long',
    route(`respond: { status: 200, body: §${'x'.repeat(4097)} }`),
    'services.reviews.routes[0].respond.body',
    /4096 bytes/,
    /shorter/,
  ],
  [
    'host header',
    route('headers: { request: { set: { host: §x } } }'),
    'services.reviews.routes[0].headers.request.set.host',
    /cannot be changed here/,
    /rewrite/,
  ],
  [
    'line break in a header',
    route('headers: { request: { set: { x-a: §"a\\nb" } } }'),
    'services.reviews.routes[0].headers.request.set.x-a',
    /line break/,
    /one line/,
  ],
  [
    'two rewrites',
    route('rewrite: { path: /a, regex: §{ pattern: b, substitution: c } }'),
    'services.reviews.routes[0].rewrite.regex',
    /both rewrite/,
    /Keep one/,
  ],
  // Inbound
  ['inbound without port', inbound('§mtls: off'), 'inbound[0]', /"port" is missing/, /8080/],
  ['inbound port twice', 'version: 1\ninbound: [{ port: 80 }, { port: §80 }]\n', 'inbound[1].port', /stands here twice/, /inbound\[0\]/],
  [
    'callers without mTLS',
    inbound('{ port: 80, allow: [{ from: §[spiffe://dev/web] }] }'),
    'inbound[0].allow[0].from',
    /only over mutual TLS/,
    /mtls: strict/,
  ],
  ['empty rule', inbound('{ port: 80, deny: [§{}] }'), 'inbound[0].deny[0]', /says nothing/, /\/\*\*/],
  ['rule path', inbound('{ port: 80, deny: [{ paths: [§/a*] }] }'), 'inbound[0].deny[0].paths[0]', /\* where none may stand/, /\/x\/\*\*/],
  ['inbound jwt not yet', inbound('{ port: 80, §jwt: {} }'), 'inbound[0].jwt', /not supported yet/, /later release/],
  // Raw resources
  ['resource without type', 'version: 1\nresources:\n  - §name: x\n', 'resources[0]', /"@type" is missing/, /type\.googleapis\.com/],
  [
    'unknown resource type',
    'version: 1\nresources:\n  - §"@type": type.googleapis.com/envoy.config.cluster.v3.Clustr\n',
    'resources[0]',
    /not a resource type/,
    /Did you mean/,
  ],
  [
    'unknown field',
    'version: 1\nresources:\n  - §"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster\n    nme: x\n',
    'resources[0]',
    /nme/,
    /proto/,
  ],
  [
    'resource that the decoder rejects',
    'version: 1\nresources:\n  - §"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster\n    name: x\n    type: STRICT_DNS\n',
    'resources[0]',
    /STRICT_DNS/,
    /EDS or STATIC/,
  ],
  [
    'resource twice',
    'version: 1\nservices: { x: { hosts: [x] } }\nresources:\n  - §"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\n    name: x\n',
    'resources[0]',
    /routes "x" is there already/,
    /another name/,
  ],
];

describe('errors of mesh.yaml', () => {
  test.each(BAD)('%s', (_name, marked, path, message, cure) => {
    const at = marked.indexOf('§');
    const text = marked.replace('§', '');
    const line = marked.slice(0, at).split('\n').length;
    const column = at - marked.lastIndexOf('\n', at - 1);
    const loaded = loadMeshYaml(text, 'mesh.yaml');
    if (loaded.ok) throw new Error('the file was accepted');
    expect(loaded.errors).toHaveLength(1);
    const [problem] = loaded.errors;
    expect(problem).toMatchObject({ file: 'mesh.yaml', line, column, path });
    expect(problem?.message).toMatch(message);
    expect(problem?.cure).toMatch(cure);
    expect(problem?.cure).toMatch(/[.?]$/);
  });

  test('all problems of a file at once, in order', () => {
    const loaded = loadMeshYaml('version: 3\nservices:\n  a:\n    lb: x\n    timeout: 1\n', 'f');
    expect(loaded.ok ? [] : loaded.errors.map(({ line, path }) => [line, path])).toEqual([
      [1, 'version'],
      [4, 'services.a.lb'],
      [5, 'services.a.timeout'],
    ]);
  });

  test('an alias bomb ends', () => {
    const levels = Array.from({ length: 12 }, (_, level) => `  l${level + 1}: &l${level + 1} [${Array(10).fill(`*l${level}`).join(', ')}]`);
    const loaded = loadMeshYaml(`version: 1\nservices:\n  l0: &l0 {}\n${levels.join('\n')}\n`, 'f');
    expect(loaded.ok).toBe(false);
  });
});

describe('code frames', () => {
  const problem = { file: 'mesh.yaml', line: 2, column: 11, length: 5, path: 'a.b', message: 'wrong', cure: 'Mend it.' };

  test('mark the text', () => {
    expect(codeFrame('a:\n  timeout 2 sec\nb: 1\n', { ...problem })).toBe(
      '  1 | a:\n> 2 |   timeout 2 sec\n    |           ^^^^^\n  3 | b: 1',
    );
  });

  test('keep tabs and stop at the end of the line', () => {
    expect(codeFrame('\n\t\tx', { ...problem, column: 3, length: 99 })).toBe('  1 |\n> 2 | \t\tx\n    | \t\t^');
    const long = `${'x, '.repeat(200)}HERE${', y'.repeat(200)}`;
    const framed = codeFrame(long, { ...problem, line: 1, column: 601, length: 4 }).split('\n');
    expect(framed[0]?.length).toBeLessThan(220);
    expect(framed[0]?.slice(framed[1]?.indexOf('^'), (framed[1]?.lastIndexOf('^') ?? 0) + 1)).toBe('HERE');
    const pem = `key: "-----BEGIN PRIVATE KEY-----MIGHAgEA"\n  ${'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYp'.repeat(2)}\nx: 1\n`;
    expect(codeFrame(pem, { ...problem, line: 2, column: 1, length: 1 })).not.toContain('MIGHAgEA');
  });

  test('one line, and the whole picture', () => {
    expect(describeProblem(problem)).toBe('mesh.yaml:2:11: a.b: wrong. Mend it.');
    expect(printProblem('a\n  timeout 2 sec', problem)).toBe(
      'mesh.yaml:2:11: a.b: wrong\n    1 | a\n  > 2 |   timeout 2 sec\n      |           ^^^^^\n  Mend it.\n',
    );
  });
});
