/** The rules of gRFCs A83 and A97 for tokens that expire, in simulated time. */
import { describe, expect, test } from 'vitest';
import { CredentialProblem, TokenCache } from '../../../src/adapters/grpc/token-cache.ts';
import type { Token } from '../../../src/adapters/grpc/token-cache.ts';
import { FakeClock, SeededRandom } from '../../../src/testing/index.ts';
import { settle } from '../../../src/testing/fake-clock.ts';

const MINUTE = 60_000;

function setUp(lifetimeMs = 10 * MINUTE) {
  const clock = new FakeClock();
  const state = { fetches: 0, fail: undefined as Error | undefined, gate: undefined as Promise<void> | undefined };
  const cache = new TokenCache(
    {
      name: 'the test',
      async fetch(): Promise<Token> {
        const number = ++state.fetches;
        await state.gate;
        if (state.fail !== undefined) throw state.fail;
        return { value: `t${number}`, expiresAt: clock.wallTime() + lifetimeMs };
      },
    },
    clock,
    new SeededRandom(1),
  );
  return { clock, state, cache };
}

describe('a good source', () => {
  test('one fetch for all who wait, none while the token is fresh', async () => {
    const { cache, state } = setUp();
    expect(await Promise.all([cache.get(), cache.get()])).toEqual(['t1', 't1']);
    expect(await cache.get()).toBe('t1');
    expect(state.fetches).toBe(1);
  });

  test('within a minute of its end the old token is used and a new one is fetched; at the end it is waited for', async () => {
    const { cache, clock, state } = setUp();
    await cache.get();
    await clock.advance(10 * MINUTE - 30_000 - MINUTE);
    expect(await cache.get()).toBe('t1');
    expect(state.fetches).toBe(1);
    await clock.advance(1);
    expect(await cache.get()).toBe('t1');
    await settle();
    expect(state.fetches).toBe(2);
    expect(await cache.get()).toBe('t2');
    // 30 seconds before its end it counts as expired.
    await clock.advance(10 * MINUTE - 30_000);
    expect(await cache.get()).toBe('t3');
  });

  test('a token that lives shorter than the margin is used by those who waited for it, and by nobody else', async () => {
    const { cache, state } = setUp(10_000);
    expect(await cache.get()).toBe('t1');
    expect(await cache.get()).toBe('t2');
    expect(state.fetches).toBe(2);
  });
});

describe('a source that fails', () => {
  test('the last failure is repeated without another try until the back-off is over, and the back-off grows', async () => {
    const { cache, clock, state } = setUp();
    state.fail = new CredentialProblem('no file', 14);
    await expect(cache.get()).rejects.toMatchObject({ code: 14, message: 'no file' });
    await clock.advance(799);
    await expect(cache.get()).rejects.toThrow('no file');
    expect(state.fetches).toBe(1);
    await clock.advance(402);
    await expect(cache.get()).rejects.toThrow('no file');
    expect(state.fetches).toBe(2);
    await clock.advance(1201);
    await expect(cache.get()).rejects.toThrow('no file');
    expect(state.fetches).toBe(2);
    await clock.advance(720);
    state.fail = undefined;
    expect(await cache.get()).toBe('t3');
  });

  test('no try without somebody who asks', async () => {
    const { cache, clock, state } = setUp();
    state.fail = new CredentialProblem('no file');
    await expect(cache.get()).rejects.toThrow('no file');
    await clock.advance(60 * MINUTE);
    expect(state.fetches).toBe(1);
    expect(clock.pending).toBe(0);
  });

  test('a fetch ahead of time that fails harms nobody while the old token is good', async () => {
    const { cache, clock, state } = setUp();
    await cache.get();
    state.fail = new CredentialProblem('gone');
    await clock.advance(10 * MINUTE - 60_000);
    expect(await cache.get()).toBe('t1');
    await settle();
    expect(await cache.get()).toBe('t1');
    expect(state.fetches).toBe(2);
    await clock.advance(30_000);
    await expect(cache.get()).rejects.toThrow('gone');
  });

  test('an expired token is a failure; what is no CredentialProblem is not shown, since it may quote a secret', async () => {
    const expired = setUp(-1);
    await expect(expired.cache.get()).rejects.toMatchObject({ code: 16, message: 'the test gave a token that has expired' });
    const faulty = setUp();
    faulty.state.fail = new TypeError('secret');
    await expect(faulty.cache.get()).rejects.toMatchObject({ code: 14, message: 'the test: fault in inmesh' });
  });
});
