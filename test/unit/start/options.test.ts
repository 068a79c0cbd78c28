/** Wrong options, from JavaScript and by slips of the finger: an error that names the option and a cure, before anything is opened. */
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { silentLogger } from '../../../src/core/log.ts';
import { createMesh } from '../../../src/index.ts';
import { checkOptions, includeFromEnvironment } from '../../../src/options.ts';
import { start } from '../../../src/start.ts';
import { FakeClock, SeededRandom } from '../../../src/testing/index.ts';
import { folder } from '../../support/mesh-process.ts';

const YAML = 'version: 1\nservices: { shop: { endpoints: ["127.0.0.1:1"] } }\n';

const BAD: readonly (readonly [title: string, options: unknown, message: string])[] = [
  ['null', null, 'the argument of createMesh must be a path or an object of options, not null. Leave it out to use the environment'],
  ['a number', 5, 'the argument of createMesh must be a path or an object of options, not 5.'],
  ['an array', ['mesh.yaml'], 'the argument of createMesh must be a path or an object of options, not an array.'],
  ['a function', () => 'mesh.yaml', 'the argument of createMesh must be a path or an object of options, not a function.'],
  ['an empty path', '', 'the argument of createMesh must be a path, not "".'],
  ['a slip', { confg: 'mesh.yaml' }, 'the option "confg" does not exist. Did you mean "config"?'],
  ['another slip', { startTimeOut: 5 }, 'the option "startTimeOut" does not exist. Did you mean "startTimeout"?'],
  ['nothing like it', { zzzzzzzzzz: 1 }, 'the option "zzzzzzzzzz" does not exist. Known: config, bootstrap, include,'],
  ['a name of every object', { toString: 1 }, 'the option "toString" does not exist.'],
  ['config', { config: 5 }, 'the option config must be a path, not 5.'],
  ['bootstrap as text', { bootstrap: '{}' }, 'the option bootstrap must be an object, not "{}".'],
  ['bootstrap null', { bootstrap: null }, 'the option bootstrap must be an object, not null.'],
  [
    'include as text',
    { include: 'reviews' },
    `the option include must be an array of host patterns, not "reviews". Write it like ['reviews', '*.svc.cluster.local']`,
  ],
  ['include of numbers', { include: ['a', 5] }, 'the option include[1] must be a host pattern, not 5.'],
  [
    'a * in the middle',
    { include: ['a.*.b'] },
    'the option include[0] "a.*.b" has a * that stands neither alone, nor at one end of the host only.',
  ],
  ['a * at both ends', { include: ['*a*'] }, 'the option include[0] "*a*" has a *'],
  ['two *', { include: ['**'] }, 'the option include[0] "**" has a *'],
  [
    'a URL',
    { include: ['http://reviews:80'] },
    'the option include[0] "http://reviews:80" is not a host pattern. Write a host with or without a port, e.g. reviews:9080',
  ],
  ['a path', { include: ['reviews/x'] }, 'the option include[0] "reviews/x" is not a host pattern.'],
  ['two in one', { include: ['reviews,cart'] }, 'the option include[0] "reviews,cart" is not a host pattern.'],
  ['an empty pattern', { include: [' '] }, 'the option include[0] " " is empty.'],
  ['startTimeout below 0', { startTimeout: -1 }, 'the option startTimeout must be a number of milliseconds, not -1.'],
  ['startTimeout NaN', { startTimeout: Number.NaN }, 'the option startTimeout must be a number of milliseconds, not NaN.'],
  ['startTimeout as text', { startTimeout: '5s' }, 'the option startTimeout must be a number of milliseconds, not "5s".'],
  ['onFailure', { onFailure: 'thrw' }, `the option onFailure must be 'response' or 'throw', not "thrw".`],
  ['subscribe', { subscribe: 'everything' }, 'the option subscribe has no style "everything".'],
  ['subscribe, of another type', { subscribe: true }, 'the option subscribe has no style boolean.'],
  ['subscribe, two that exclude each other', { subscribe: ['routes', 'names'] }, "the option subscribe names 'routes' and 'names'."],
  ['routeNames', { routeNames: '%port%' }, 'the option routeNames must be a list of templates.'],
  ['routeNames, a slip', { routeNames: ['%prot%'] }, 'the option routeNames "%prot%" has %prot%.'],
  ['wildcard', { wildcard: 'yes' }, 'the option wildcard must be true or false, not "yes".'],
  ['watch', { watch: 0 }, 'the option watch must be true or false, not 0.'],
  ['breakers', { breakers: [] }, 'the option breakers must be an object, not an empty array.'],
  ['a breaker', { breakers: { shop: true } }, 'the option breakers["shop"] must be an object, not true.'],
  [
    'a key of a breaker',
    { breakers: { shop: { volumeTreshold: 1 } } },
    'the option breakers["shop"]: the key "volumeTreshold" does not exist. Did you mean "volumeThreshold"?',
  ],
  [
    'a number of a breaker',
    { breakers: { shop: { windowMs: '10s' } } },
    'the option breakers["shop"].windowMs must be a number of 0 or more, not "10s". The default is 10000',
  ],
  [
    'a number that is none',
    { breakers: { shop: { windowMs: Number.NaN } } },
    'the option breakers["shop"].windowMs must be a number of 0 or more, not NaN.',
  ],
  [
    'an absent number',
    { breakers: { shop: { windowMs: undefined } } },
    'the option breakers["shop"].windowMs must be a number of 0 or more, not undefined.',
  ],
  ['filters', { filters: {} }, 'the option filters must be an array, not an object.'],
  ['a filter', { filters: [5] }, 'the option filters[0] must be an object, not 5.'],
  ['lbPolicies', { lbPolicies: 'mine' }, 'the option lbPolicies must be an array, not "mine".'],
  ['attemptLayers', { attemptLayers: null }, 'the option attemptLayers must be an array, not null.'],
  ['observers', { observers: () => undefined }, 'the option observers must be an array, not a function.'],
  [
    'logger',
    { logger: { info: console.info } },
    'the option logger must be an object with the methods debug, info, warn, error, not an object. Missing: debug, warn, error',
  ],
  ['clock', { clock: null }, 'the option clock must be an object with the methods now, wallTime, set, clear, not null.'],
  ['random', { random: Math.random }, 'the option random must be an object with the methods next, not a function.'],
];

describe('wrong options', () => {
  test.each(BAD)('%s', async (_title, options, message) => {
    const expected = {
      code: 'ERR_MESH_OPTION',
      message: expect.stringContaining(message) as string,
      cure: expect.stringMatching(/./) as string,
    };
    await expect(createMesh(options as object)).rejects.toMatchObject(expected);
  });

  test('they win over a configuration that is wrong as well, and nothing is opened', () => {
    const clock = new FakeClock();
    const config = join(folder({ 'mesh.yaml': YAML }), 'mesh.yaml');
    const options = { config, clock, logger: silentLogger };
    expect(() => start({ ...options, config: 'none.yaml', startTimeout: -1 }, {})).toThrow(/startTimeout/);
    expect(() => start({ ...options, include: ['a*b'] }, {})).toThrow(/include\[0\]/);
    expect(() => start(options, { INMESH_INCLUDE: 'shop, a*b' })).toThrow(/^INMESH_INCLUDE: "a\*b" has a \*/);
    expect(clock.pending).toBe(0);
    // Negative control: what is opened by a good one shows on this clock.
    const { engine } = start(options, {});
    onTestFinished(() => engine.close(0));
    expect(clock.pending).toBeGreaterThan(0);
  });
});

test('good options pass as they are; what is undefined counts as absent', () => {
  expect(checkOptions('a.yaml')).toEqual({ config: 'a.yaml' });
  expect(checkOptions({})).toEqual({});
  const good = {
    config: 'a.yaml',
    bootstrap: {},
    include: [
      'reviews',
      'Reviews:9080',
      '*.svc.cluster.local',
      '*.local:80',
      'api.*',
      'api.*:80',
      '*',
      '*:80',
      '[::1]',
      '[::1]:80',
      '127.0.0.1:1',
      'a_b-c',
    ],
    startTimeout: 0,
    onFailure: 'throw',
    subscribe: ['routes', 'on-demand'],
    routeNames: ['%port%'],
    wildcard: false,
    watch: true,
    breakers: { shop: { windowMs: 1 } },
    filters: [],
    lbPolicies: [],
    attemptLayers: [{ name: 'x', wrap: () => undefined }],
    observers: [{}],
    logger: silentLogger,
    clock: new FakeClock(),
    random: new SeededRandom(1),
  };
  expect(checkOptions(good)).toBe(good);
  const absent = Object.fromEntries(Object.keys(good).map((key) => [key, undefined]));
  expect(checkOptions(absent)).toBe(absent);
});

test('INMESH_INCLUDE: commas, spaces, none', () => {
  expect(includeFromEnvironment(undefined)).toBeUndefined();
  expect(includeFromEnvironment('')).toBeUndefined();
  expect(includeFromEnvironment(' a , *.b,')).toEqual(['a', '*.b']);
  expect(() => includeFromEnvironment('a,http://b')).toThrow(
    expect.objectContaining({
      code: 'ERR_MESH_OPTION',
      message: expect.stringContaining('INMESH_INCLUDE: "http://b" is not a host pattern.') as string,
    }),
  );
});

test('INMESH_INCLUDE is not looked at when the option is there', async () => {
  const config = join(folder({ 'mesh.yaml': YAML }), 'mesh.yaml');
  const { engine } = start({ config, include: ['shop'], logger: silentLogger }, { INMESH_INCLUDE: 'a*b' });
  expect(engine.include?.patterns).toEqual(['shop']);
  await engine.close(0);
});

test.each(['a.*.b', '*a*', 'http://reviews'])('the key include of mesh.yaml: %s is refused with its place', (pattern) => {
  const config = join(folder({ 'mesh.yaml': `${YAML}include: ["${pattern}"]\n` }), 'mesh.yaml');
  expect(() => start({ config, logger: silentLogger }, {})).toThrow(
    expect.objectContaining({ code: 'ERR_MESH_CONFIG', message: expect.stringMatching(/mesh\.yaml:3:/) as string }),
  );
});

test.each(['api.*', 'api.*:80', '*.local:80'])('the key include of mesh.yaml: %s is taken', async (pattern) => {
  const config = join(folder({ 'mesh.yaml': `${YAML}include: ["${pattern}"]\n` }), 'mesh.yaml');
  const { engine } = start({ config, logger: silentLogger }, {});
  expect(engine.include?.patterns).toEqual([pattern]);
  await engine.close(0);
});
