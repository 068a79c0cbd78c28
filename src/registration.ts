/**
 * What `inmesh/register` does: puts the mesh into the two dispatcher slots that undici itself offers. The dispatchers that were there keep
 * serving hosts outside the mesh.
 */
import { MeshError } from './core/errors.ts';
import { Mesh } from './facade.ts';
import type { Started } from './start.ts';
import { start } from './start.ts';

/** Slot 1 speaks undici's first handler interface (Node 22 and 24), slot 2 the second (Node 26, undici 8). */
const SLOTS = [Symbol.for('undici.globalDispatcher.1'), Symbol.for('undici.globalDispatcher.2')] as const;

export function register(): Mesh {
  const { engine, attached } = startOrExit();
  attached.catch((error: unknown) => engine.parts.log.error('the mesh could not start', { error: String(error) }));
  const mesh = new Mesh(engine, { onFailure: 'response', startTimeoutMs: engine.parts.startTimeoutMs });
  const { dispatcher } = mesh;
  for (const slot of SLOTS)
    Object.defineProperty(globalThis, slot, { value: dispatcher, writable: true, enumerable: false, configurable: false });
  return mesh;
}

/** Nobody can catch what `--import` throws, and a stack trace of ours says nothing to those who wrote the configuration. */
function startOrExit(): Started {
  try {
    return start();
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    process.stderr.write(`inmesh: ${error.message}\n`);
    process.exit(1);
  }
}
