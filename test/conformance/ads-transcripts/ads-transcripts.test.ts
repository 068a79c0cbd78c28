/** Plays the scripts of `transcripts.ts` against an `XdsClient` on a fake control plane. */
import { describe, expect, test } from 'vitest';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { ResourceKey, ResourceKind } from '../../../src/config/resource.ts';
import { settle } from '../../../src/testing/fake-clock.ts';
import { SERVER, bootstrap, resource, wrapped } from '../../unit/xds/fake-control-plane.ts';
import type { Any } from '../../unit/xds/fake-control-plane.ts';
import { setup } from '../../unit/xds/setup.ts';
import type { Setup } from '../../unit/xds/setup.ts';
import { TRANSCRIPTS } from './transcripts.ts';
import type { Step } from './transcripts.ts';

function key(text: string): ResourceKey {
  const colon = text.indexOf(':');
  return { kind: text.slice(0, colon) as ResourceKind, name: text.slice(colon + 1) };
}

/** `name=text`; `kind!name` is of another type than its response. */
function any(kind: ResourceKind, text: string): Any {
  const other = /^(\w+)!(.+)$/.exec(text);
  if (other !== null) return resource(other[1] as ResourceKind, other[2] ?? '');
  if (text.startsWith('xdstp:')) return resource(kind, text);
  const [name = '', ...value] = text.split('=');
  return resource(kind, name, value.join('='));
}

function stateOf({ client }: Setup, text: string): string {
  const { kind, name } = key(text);
  const state = client.get(kind, name);
  if (state.status === 'present') return `present:${String(state.value)}`;
  return state.status === 'failed' ? `failed:${state.reason}` : 'waiting';
}

class Player {
  readonly #setup: Setup;
  #changes = 0;

  constructor(made: Setup) {
    this.#setup = made;
  }

  async play(step: Step): Promise<void> {
    const { client, clock, transport, changes } = this.#setup;
    if ('want' in step) client.want(step.want.split(' ').filter(Boolean).map(key));
    else if ('connect' in step) transport.stream.connect();
    else if ('server' in step) {
      const [kind, version, nonce, ...resources] = step.server;
      transport.stream.respond(
        kind,
        version,
        nonce,
        resources.map((text) => any(kind as ResourceKind, text)),
      );
    } else if ('wrapped' in step) {
      const [kind, version, nonce, ...resources] = step.wrapped;
      const entries = resources.map((text) => wrapped(text.split(/[=!]/)[0] ?? '', text.endsWith('!') ? undefined : any(kind, text)));
      transport.stream.respond(kind, version, nonce, entries);
    } else if ('client' in step) expect(transport.stream.take()).toEqual(step.client);
    else if ('end' in step) transport.stream.end(...step.end);
    else if ('advance' in step) await clock.advance(step.advance);
    else if ('state' in step) for (const [name, state] of Object.entries(step.state)) expect(stateOf(this.#setup, name), name).toBe(state);
    else if ('status' in step) {
      const { resources } = client.describe();
      for (const [text, [status, error]] of Object.entries(step.status)) {
        const { kind, name } = key(text);
        const found = resources.find((entry) => entry.typeUrl === TYPE_URLS[kind] && entry.name === name);
        expect([found?.status, found?.error], text).toEqual([status, error]);
      }
    } else if ('streams' in step) expect(transport.streams.length).toBe(step.streams);
    else {
      expect(changes() - this.#changes, 'changes').toBe(step.changes);
      this.#changes = changes();
    }
    await settle();
  }
}

describe('ADS transcripts, state of the world', () => {
  test.each(TRANSCRIPTS)('$title', async ({ steps, wildcard = false, features = [] }) => {
    const server = { ...SERVER, features };
    const authorities = { known: { servers: [server], clientListenerTemplate: '' } };
    const player = new Player(setup({ wildcard, bootstrap: bootstrap({ servers: [server], authorities }) }));
    for (const [index, step] of steps.entries()) {
      try {
        await player.play(step);
      } catch (error) {
        if (error instanceof Error) error.message = `step ${index} ${JSON.stringify(step)}: ${error.message}`;
        throw error;
      }
    }
  });
});
