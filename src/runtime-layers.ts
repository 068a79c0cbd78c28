/**
 * The layers of the runtime as the mesh has them: values given in code or by a bootstrap, and layers that come over RTDS (Envoy X-94). Keeps the
 * values of `routing/runtime.ts` up to date; checks the option `runtime`.
 */
import type { ConfigSourceConfig } from './config/config-source.ts';
import type { ConfigSource, ResourceKey } from './config/resource.ts';
import type { RuntimeConfig, RuntimeValue } from './config/runtime.ts';
import { MeshError } from './core/errors.ts';
import { Runtime } from './routing/runtime.ts';

/** One layer; with `values` it is there, without it is a Runtime resource. */
export interface RuntimeLayer {
  readonly name: string;
  readonly source?: ConfigSourceConfig;
  readonly values?: RuntimeConfig['values'];
}

/** The option `runtime`: names of layers to ask the control plane for (RTDS), and values; later ones win. */
export type RuntimeOption = readonly (string | Readonly<Record<string, RuntimeValue>>)[];

export class RuntimeLayers {
  readonly runtime = new Runtime();
  /** What has to be asked for. */
  readonly keys: readonly ResourceKey[];
  readonly #layers: readonly RuntimeLayer[];

  constructor(layers: readonly RuntimeLayer[]) {
    this.#layers = layers;
    this.keys = layers.flatMap(({ name, source, values }) => (values === undefined ? [{ kind: 'runtime' as const, name, source }] : []));
  }

  /** A layer that is not there, or has failed, contributes nothing: defaults count. */
  refresh(source: ConfigSource): void {
    this.runtime.update(
      this.#layers.map(({ name, source: from, values }) => {
        if (values !== undefined) return values;
        const state = source.get('runtime', name, from);
        return state.status === 'present' ? state.value.values : undefined;
      }),
    );
  }
}

/** Layers of the option, before those that a bootstrap has. */
export function runtimeLayersOf(option: RuntimeOption | undefined, bootstrap: readonly RuntimeLayer[]): readonly RuntimeLayer[] {
  const own = (option ?? []).map((layer, index): RuntimeLayer =>
    typeof layer === 'string' ? { name: layer } : { name: `runtime[${index}]`, values: layer },
  );
  return [...bootstrap, ...own];
}

/** Throws `ERR_MESH_OPTION`. */
export function checkRuntime(value: unknown, name: string): void {
  const cure = `Write it like ['layer-of-the-control-plane', { 'routing.canary': 20, enabled: true }]`;
  if (!Array.isArray(value)) throw new MeshError('ERR_MESH_OPTION', `${name} must be an array of names and objects of values`, { cure });
  for (const [index, layer] of value.entries()) {
    const where = `${name}[${index}]`;
    if (typeof layer === 'string' && layer !== '') continue;
    if (typeof layer !== 'object' || layer === null || Array.isArray(layer))
      throw new MeshError('ERR_MESH_OPTION', `${where} must be the name of a layer, or an object of values`, { cure });
    for (const [key, entry] of Object.entries(layer as Readonly<Record<string, unknown>>)) {
      if (isValue(entry)) continue;
      throw new MeshError(
        'ERR_MESH_OPTION',
        `${where}[${JSON.stringify(key)}] must be a number, a truth value, a text, or { numerator, denominator }`,
        {
          cure: 'A whole number is a percentage; the denominator is 100, 10000 or 1000000',
        },
      );
    }
  }
}

function isValue(value: unknown): value is RuntimeValue {
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string') return true;
  if (typeof value !== 'object' || value === null) return false;
  const { numerator, denominator } = value as Readonly<Record<string, unknown>>;
  return typeof numerator === 'number' && numerator >= 0 && [100, 10_000, 1_000_000].includes(denominator as number);
}
