/**
 * Which configuration counts and of what kind it is: a mesh.yaml, a bootstrap in the gRPC format, or Envoy's, told apart by what is in it.
 * Reading and validating is synchronous; what a bootstrap leads to is opened by `start.ts`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { extname, resolve as resolvePath } from 'node:path';
import type { Bootstrap } from './config/bootstrap.ts';
import type { Environment } from './core/environment.ts';
import { MeshError } from './core/errors.ts';
import { load } from './lazy.ts';
import type { MeshOptions } from './options.ts';

export type Configuration =
  | { readonly kind: 'mesh-yaml'; readonly path: string }
  | { readonly kind: 'bootstrap'; readonly bootstrap: Bootstrap };

const ORDER = 'the argument of createMesh, GRPC_XDS_BOOTSTRAP, GRPC_XDS_BOOTSTRAP_CONFIG, INMESH_CONFIG, ./mesh.yaml';

/** Keys at the top of the two formats; a mesh.yaml has neither. */
const ENVOY = ['static_resources', 'staticResources', 'dynamic_resources', 'dynamicResources'] as const;
const GRPC = 'xds_servers';
const ENVOY_KEY = new RegExp(`^["']?(?:${ENVOY.join('|')})["']?[ \\t]*:`, 'm');

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const has = (document: unknown, key: string): boolean => typeof document === 'object' && document !== null && Object.hasOwn(document, key);

const isEnvoy = (document: unknown): boolean => !has(document, GRPC) && ENVOY.some((key) => has(document, key));

/**
 * A bootstrap of either format; Envoy's also in YAML. `origin` is the path or the variable it came from, for error messages. Throws
 * `ERR_MESH_BOOTSTRAP`.
 */
export function parseBootstrap(text: string, origin: string, env: Environment): Bootstrap {
  const json = jsonOf(text);
  const document = json === undefined && ENVOY_KEY.test(text) ? load('./sources/envoy-yaml').parseEnvoyYaml(text, origin) : json;
  if (!isEnvoy(document)) return load('./xds/bootstrap').readBootstrap(text, origin);
  const parse = (content: string, path: string): unknown => jsonOf(content) ?? load('./sources/envoy-yaml').parseEnvoyYaml(content, path);
  return load('./xds/envoy-bootstrap').readEnvoyBootstrap(document as Readonly<Record<string, unknown>>, origin, { env, parse });
}

function readText(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new MeshError('ERR_MESH_CONFIG', `cannot read ${what} ${path}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/** `.json` is a bootstrap; any other file is one when it says so, else a mesh.yaml. */
function isBootstrap(path: string, text: string): boolean {
  if (extname(path) === '.json' || ENVOY_KEY.test(text)) return true;
  const document = text.trimStart().startsWith('{') ? jsonOf(text) : undefined;
  return isEnvoy(document) || has(document, GRPC);
}

function fromFile(path: string, what: string, env: Environment): Configuration {
  const absolute = resolvePath(path);
  const text = readText(absolute, what);
  if (!isBootstrap(absolute, text)) return { kind: 'mesh-yaml', path: absolute };
  return { kind: 'bootstrap', bootstrap: parseBootstrap(text, absolute, env) };
}

/** The first of the places that has one. Throws `MeshError`. */
export function findConfiguration(options: MeshOptions, env: Environment): Configuration {
  const bootstrap = (text: string, origin: string): Configuration => ({ kind: 'bootstrap', bootstrap: parseBootstrap(text, origin, env) });
  if (options.bootstrap !== undefined) return bootstrap(JSON.stringify(options.bootstrap), 'the option "bootstrap"');
  if (options.config !== undefined) return fromFile(options.config, 'the configuration', env);
  const path = env['GRPC_XDS_BOOTSTRAP'];
  if (path !== undefined && path !== '') return bootstrap(readText(path, 'the file that GRPC_XDS_BOOTSTRAP names,'), path);
  const text = env['GRPC_XDS_BOOTSTRAP_CONFIG'];
  if (text !== undefined && text !== '') return bootstrap(text, 'GRPC_XDS_BOOTSTRAP_CONFIG');
  const named = env['INMESH_CONFIG'];
  if (named !== undefined && named !== '') return fromFile(named, 'the file that INMESH_CONFIG names,', env);
  if (existsSync('mesh.yaml')) return { kind: 'mesh-yaml', path: resolvePath('mesh.yaml') };
  throw new MeshError('ERR_MESH_CONFIG', 'no configuration was found', { cure: `Looked in this order: ${ORDER}` });
}
