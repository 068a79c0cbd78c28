/**
 * Plays scripts of an xDS stream against an `XdsClient` on a fake control plane: the steps that both dialects have, and how a script runs.
 * The messages themselves belong to the two tests beside.
 */
import { expect } from 'vitest';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { ResourceDescription, ResourceKey, ResourceKind } from '../../../src/config/resource.ts';
import { settle } from '../../../src/testing/fake-clock.ts';
import { SERVER, bootstrap } from '../../unit/xds/fake-control-plane.ts';
import { setup } from '../../unit/xds/setup.ts';
import type { Setup } from '../../unit/xds/setup.ts';

export type CommonStep =
  /** The whole set of wanted resources, `listener:a routes:b`. */
  | { readonly want: string }
  /** The connection of the newest stream stands. */
  | { readonly connect: true }
  /** The stream ends with a gRPC status. */
  | { readonly end: readonly [number, string] }
  | { readonly advance: number }
  /** `present:text`, `waiting` or `failed:reason` for `kind:name`. */
  | { readonly state: Readonly<Record<string, string>> }
  /** Notifications since the last such step. */
  | { readonly changes: number };

export interface Script<Step> {
  readonly title: string;
  readonly wildcard?: true;
  readonly features?: readonly string[];
  readonly steps: readonly Step[];
}

export function key(text: string): ResourceKey {
  const colon = text.indexOf(':');
  return { kind: text.slice(0, colon) as ResourceKind, name: text.slice(colon + 1) };
}

/** What `describe()` says of `kind:name`. */
export function described({ client }: Setup, text: string): ResourceDescription | undefined {
  const { kind, name } = key(text);
  return client.describe().resources.find((entry) => entry.typeUrl === TYPE_URLS[kind] && entry.name === name);
}

function stateOf({ client }: Setup, text: string): string {
  const { kind, name } = key(text);
  const state = client.get(kind, name);
  if (state.status === 'present') return `present:${String(state.value)}`;
  return state.status === 'failed' ? `failed:${state.reason}` : 'waiting';
}

/** `playOwn`: the steps that are not common. */
export async function play<Own extends object>(
  script: Script<Own | CommonStep>,
  protocol: 'delta' | undefined,
  playOwn: (step: Own, made: Setup) => void,
): Promise<void> {
  const { wildcard = false, features = [], steps } = script;
  const server = { ...SERVER, features, ...(protocol && { protocol }) };
  const authorities = { known: { servers: [server], clientListenerTemplate: '' } };
  const made = setup({ wildcard, bootstrap: bootstrap({ servers: [server], authorities }) });
  const { client, clock, transport, changes } = made;
  let told = 0;
  const playStep = async (step: Own | CommonStep): Promise<void> => {
    if ('want' in step) client.want(step.want.split(' ').filter(Boolean).map(key));
    else if ('connect' in step) transport.stream.connect();
    else if ('end' in step) transport.stream.end(...step.end);
    else if ('advance' in step) await clock.advance(step.advance);
    else if ('state' in step) for (const [name, state] of Object.entries(step.state)) expect(stateOf(made, name), name).toBe(state);
    else if ('changes' in step) {
      expect(changes() - told, 'changes').toBe(step.changes);
      told = changes();
    } else playOwn(step, made);
    await settle();
  };
  for (const [index, step] of steps.entries()) {
    try {
      await playStep(step);
    } catch (error) {
      if (error instanceof Error) error.message = `step ${index} ${JSON.stringify(step)}: ${error.message}`;
      throw error;
    }
  }
}
