/** Subscription styles: from options and environment to one decision, and what contradicts itself. */
import { describe, expect, test } from 'vitest';
import { subscriptionOf } from '../../../src/subscription.ts';
import type { SubscriptionOptions } from '../../../src/subscription.ts';

const named = { listeners: 'names', clustersOnDemand: false, routeNames: ['%port%'] };

describe('what is decided', () => {
  const rows: readonly (readonly [title: string, options: SubscriptionOptions, env: Record<string, string>, expected: object])[] = [
    ['nothing given', {}, {}, named],
    ['the alias', { wildcard: true }, {}, { ...named, listeners: 'wildcard' }],
    ['the alias says no', { wildcard: false }, { INMESH_SUBSCRIBE: 'wildcard' }, named],
    ['one style', { subscribe: 'routes' }, {}, { ...named, listeners: 'routes' }],
    ['on demand alone', { subscribe: 'on-demand' }, {}, { ...named, clustersOnDemand: true }],
    ['on demand beside another', { subscribe: ['routes', 'on-demand'] }, {}, { ...named, listeners: 'routes', clustersOnDemand: true }],
    [
      'on demand beside the alias',
      { subscribe: 'on-demand', wildcard: true },
      {},
      { ...named, listeners: 'wildcard', clustersOnDemand: true },
    ],
    [
      'the environment',
      {},
      { INMESH_SUBSCRIBE: ' routes, on-demand,', INMESH_ROUTE_NAMES: '%s,%port%' },
      { listeners: 'routes', clustersOnDemand: true, routeNames: ['%s', '%port%'] },
    ],
    ['empty variables', {}, { INMESH_SUBSCRIBE: ' ', INMESH_ROUTE_NAMES: '' }, named],
    [
      'options win',
      { subscribe: 'names', routeNames: ['all'] },
      { INMESH_SUBSCRIBE: 'nonsense', INMESH_ROUTE_NAMES: '%x%' },
      { ...named, routeNames: ['all'] },
    ],
  ];
  test.each(rows)('%s', (_title, options, env, expected) => {
    expect(subscriptionOf(options, env)).toEqual(expected);
  });
});

describe('what is refused', () => {
  const rows: readonly (readonly [title: string, options: SubscriptionOptions, env: Record<string, string>, message: string])[] = [
    [
      'the alias against the style',
      { wildcard: true, subscribe: 'routes' },
      {},
      "the option wildcard is true, and subscribe says 'routes'.",
    ],
    [
      'the style against the alias',
      { wildcard: false, subscribe: 'wildcard' },
      {},
      "the option wildcard is false, and subscribe says 'wildcard'.",
    ],
    ['a slip in the environment', {}, { INMESH_SUBSCRIBE: 'route' }, 'INMESH_SUBSCRIBE: has no style "route". Did you mean "routes"?'],
    ['two in the environment', {}, { INMESH_SUBSCRIBE: 'names,wildcard' }, "INMESH_SUBSCRIBE: names 'names' and 'wildcard'."],
    ['a template', {}, { INMESH_ROUTE_NAMES: '%port' }, 'INMESH_ROUTE_NAMES: "%port" has %port.'],
    ['no template', { routeNames: [] }, {}, 'the option routeNames must be a list of templates.'],
  ];
  test.each(rows)('%s', (_title, options, env, message) => {
    expect(() => subscriptionOf(options, env)).toThrow(
      expect.objectContaining({ code: 'ERR_MESH_OPTION', message: expect.stringContaining(message) as string }),
    );
  });
});
