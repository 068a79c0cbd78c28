/**
 * `node --import inmesh/register app.js`: meshes the global `fetch` and undici of an unmodified application.
 * `INMESH_DISABLE=1` does nothing at all: not even the rest of the package is loaded.
 */
import { readEnvironment } from './core/environment.ts';
import { load } from './lazy.ts';

if (readEnvironment()['INMESH_DISABLE'] !== '1') load('./registration').register();
