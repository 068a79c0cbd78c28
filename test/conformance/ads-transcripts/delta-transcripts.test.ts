/** Plays the scripts of `delta-transcripts.ts` against an `XdsClient` on a fake control plane. */
import { describe, expect, test } from 'vitest';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { ResourceKey, ResourceKind } from '../../../src/config/resource.ts';
import { settle } from '../../../src/testing/fake-clock.ts';
import { SERVER, bootstrap, resource } from '../../unit/xds/fake-control-plane.ts';
import type { DeltaEntry } from '../../unit/xds/fake-control-plane.ts';
import { setup } from '../../unit/xds/setup.ts';
import type { Setup } from '../../unit/xds/setup.ts';
import { DELTA_TRANSCRIPTS } from './delta-transcripts.ts';
import type { DeltaStep } from './delta-transcripts.ts';

function key(text: string): ResourceKey {
  const colon = text.indexOf(':');
  return { kind: text.slice(0, colon) as ResourceKind, name: text.slice(colon + 1) };
}

/** `name@version=text|alias%ttl`. */
function entry(kind: ResourceKind, written: string): DeltaEntry {
  const parts = /^([^@]+)@(\w+)(?:=([^|%]*))?(?:\|([^%]*))?(?:%(\d+))?$/.exec(written);
  if (parts === null) throw new Error(`not a resource: ${written}`);
  const [, name = '', version = '', text, alias, ttl] = parts;
  return {
    name,
    version,
    ...(text !== undefined && { body: resource(kind, name, text) }),
    ...(alias !== undefined && { aliases: [alias] }),
    ...(ttl !== undefined && { ttlMs: Number(ttl) }),
  };
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

  async play(step: DeltaStep): Promise<void> {
    const { client, clock, transport, changes } = this.#setup;
    if ('want' in step) client.want(step.want.split(' ').filter(Boolean).map(key));
    else if ('connect' in step) transport.stream.connect();
    else if ('server' in step) this.#respond(...step.server);
    else if ('client' in step) expect(transport.stream.takeDelta()).toEqual(step.client);
    else if ('end' in step) transport.stream.end(...step.end);
    else if ('advance' in step) await clock.advance(step.advance);
    else if ('state' in step) for (const [name, state] of Object.entries(step.state)) expect(stateOf(this.#setup, name), name).toBe(state);
    else if ('status' in step) {
      const { resources } = client.describe();
      for (const [text, status] of Object.entries(step.status)) {
        const { kind, name } = key(text);
        expect(resources.find((found) => found.typeUrl === TYPE_URLS[kind] && found.name === name)?.status, text).toBe(status);
      }
    } else if ('names' in step) {
      const [kind, ...names] = step.names;
      const known = client.describe().resources.filter(({ typeUrl, status }) => typeUrl === TYPE_URLS[kind] && status === 'ACKED');
      expect(known.map(({ name }) => name)).toEqual(names);
    } else {
      expect(changes() - this.#changes, 'changes').toBe(step.changes);
      this.#changes = changes();
    }
    await settle();
  }

  #respond(kind: ResourceKind, nonce: string, ...written: readonly string[]): void {
    const errors: Record<string, readonly [number, string]> = {};
    for (const text of written) {
      const [, name, code, message] = /^~(\w+):(\d+):(.*)$/.exec(text) ?? [];
      if (name !== undefined) errors[name] = [Number(code), message ?? ''];
    }
    this.#setup.transport.stream.respondDelta(
      kind,
      nonce,
      written.filter((text) => !/^[-~]/.test(text)).map((text) => entry(kind, text)),
      written.filter((text) => text.startsWith('-')).map((text) => text.slice(1)),
      errors,
    );
  }
}

describe('ADS transcripts, incremental', () => {
  test.each(DELTA_TRANSCRIPTS)('$title', async ({ steps, wildcard = false, features = [] }) => {
    const server = { ...SERVER, features, protocol: 'delta' as const };
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
