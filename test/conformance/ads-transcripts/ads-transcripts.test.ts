/** Plays the scripts of `transcripts.ts` and `transcripts-responses.ts`. */
import { describe, expect, test } from 'vitest';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { resource, wrapped } from '../../unit/xds/fake-control-plane.ts';
import type { Any } from '../../unit/xds/fake-control-plane.ts';
import type { Setup } from '../../unit/xds/setup.ts';
import { described, play } from './player.ts';
import { RESPONSES } from './transcripts-responses.ts';
import { SUBSCRIPTIONS } from './transcripts.ts';
import type { SotwStep } from './transcripts.ts';

/** `name=text`; `kind!name` is of another type than its response. */
function any(kind: ResourceKind, text: string): Any {
  const other = /^(\w+)!(.+)$/.exec(text);
  if (other !== null) return resource(other[1] as ResourceKind, other[2] ?? '');
  if (text.startsWith('xdstp:')) return resource(kind, text);
  const [name = '', ...value] = text.split('=');
  return resource(kind, name, value.join('='));
}

function playOwn(step: SotwStep, made: Setup): void {
  const { transport } = made;
  if ('server' in step) {
    const [kind, version, nonce, ...resources] = step.server;
    const entries = resources.map((text) => any(kind as ResourceKind, text));
    transport.stream.respond(kind, version, nonce, entries);
  } else if ('wrapped' in step) {
    const [kind, version, nonce, ...resources] = step.wrapped;
    const entries = resources.map((text) => wrapped(text.split(/[=!]/)[0] ?? '', text.endsWith('!') ? undefined : any(kind, text)));
    transport.stream.respond(kind, version, nonce, entries);
  } else if ('client' in step) expect(transport.stream.take()).toEqual(step.client);
  else if ('streams' in step) expect(transport.streams.length).toBe(step.streams);
  else {
    for (const [text, [status, error]] of Object.entries(step.status)) {
      const found = described(made, text);
      expect([found?.status, found?.error], text).toEqual([status, error]);
    }
  }
}

describe('ADS transcripts, state of the world', () => {
  test.each([...SUBSCRIPTIONS, ...RESPONSES])('$title', (script) => play(script, undefined, playOwn));
});
