/** Plays the scripts of `delta-transcripts.ts`. */
import { describe, expect, test } from 'vitest';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { resource } from '../../unit/xds/fake-control-plane.ts';
import type { DeltaEntry } from '../../unit/xds/fake-control-plane.ts';
import type { Setup } from '../../unit/xds/setup.ts';
import { DELTA_TRANSCRIPTS } from './delta-transcripts.ts';
import type { DeltaStep } from './delta-transcripts.ts';
import { described, play } from './player.ts';

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

function respond({ transport }: Setup, kind: ResourceKind, nonce: string, ...written: readonly string[]): void {
  const errors: Record<string, readonly [number, string]> = {};
  for (const text of written) {
    const [, name, code, message] = /^~(\w+):(\d+):(.*)$/.exec(text) ?? [];
    if (name !== undefined) errors[name] = [Number(code), message ?? ''];
  }
  transport.stream.respondDelta(
    kind,
    nonce,
    written.filter((text) => !/^[-~]/.test(text)).map((text) => entry(kind, text)),
    written.filter((text) => text.startsWith('-')).map((text) => text.slice(1)),
    errors,
  );
}

function playOwn(step: DeltaStep, made: Setup): void {
  if ('server' in step) respond(made, ...step.server);
  else if ('client' in step) expect(made.transport.stream.takeDelta()).toEqual(step.client);
  else if ('status' in step) {
    for (const [text, status] of Object.entries(step.status)) expect(described(made, text)?.status, text).toBe(status);
  } else {
    const [kind, ...names] = step.names;
    const known = made.client.describe().resources.filter(({ typeUrl, status }) => typeUrl === TYPE_URLS[kind] && status === 'ACKED');
    expect(known.map(({ name }) => name)).toEqual(names);
  }
}

describe('ADS transcripts, incremental', () => {
  test.each(DELTA_TRANSCRIPTS)('$title', (script) => play(script, 'delta', playOwn));
});
