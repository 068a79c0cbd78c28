/**
 * A short text that is equal for equal configurations and says nothing of what is in them: tokens and private keys among it cannot be
 * read out, nor guessed, since the key of the hash exists only in this process.
 */
import { createHmac, randomBytes } from 'node:crypto';

/** Several installs of inmesh in one process must agree. */
const KEY: unique symbol = Symbol.for('inmesh.fingerprint.1') as never;

function processKey(): Buffer {
  const place = globalThis as { [KEY]?: Buffer };
  return (place[KEY] ??= randomBytes(32));
}

/** `value` is plain data; the order of keys does not matter, and a key that is undefined counts as absent. */
export function fingerprint(value: unknown): string {
  return createHmac('sha256', processKey()).update(stable(value)).digest('base64url');
}

function stable(value: unknown): string {
  return (
    JSON.stringify(value, (_key, inner: unknown) => {
      if (inner instanceof Uint8Array) return { bytes: Buffer.from(inner).toString('base64') };
      if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
      return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
    }) ?? ''
  );
}
