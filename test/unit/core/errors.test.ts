/** `MeshError` shows what is known, and nothing else. */
import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { MeshError } from '../../../src/core/errors.ts';
import { failure, FAILURES } from '../../../src/core/failure.ts';

test('cure, cause and failure are there only when they are given', () => {
  const bare = new MeshError('ERR_MESH_CONFIG', 'it is broken');
  expect([Object.keys(bare).toSorted(), bare.message, bare.cure, bare.failure]).toEqual([
    ['code', 'name'],
    'it is broken',
    undefined,
    undefined,
  ]);
  expect(inspect(bare)).not.toContain('undefined');
  expect('cause' in bare).toBe(false);
  const kind = failure(FAILURES.routeNotFound, 'no route');
  const full = new MeshError('ERR_MESH_FAILURE', 'it is broken', { cure: 'Mend it', cause: 'x', failure: kind });
  expect([full.message, full.cure, full.cause, full.failure]).toEqual(['it is broken. Mend it', 'Mend it', 'x', kind]);
});
