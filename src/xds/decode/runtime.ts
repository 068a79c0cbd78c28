/** Runtime (RTDS): nested values flattened to keys with dots, as Envoy's layers have them (Envoy X-94). */
import { ConfigProblem } from '../../config/resource.ts';
import type { RuntimeConfig, RuntimeValue } from '../../config/runtime.ts';
import type { Runtime } from '../../proto/gen/envoy/service/runtime/v3/rtds_pb.js';

const DENOMINATORS: ReadonlyMap<unknown, number> = new Map([
  ['HUNDRED', 100],
  ['TEN_THOUSAND', 10_000],
  ['MILLION', 1_000_000],
]);

/** The message has been surveyed. */
export function runtime(message: Runtime): RuntimeConfig {
  return { name: message.name, values: runtimeValues(message.layer ?? {}, 'layer') };
}

/** Throws `ConfigProblem` for nulls and lists, which mean nothing. */
export function runtimeValues(layer: Readonly<Record<string, unknown>>, path: string): Readonly<Record<string, RuntimeValue>> {
  const values: Record<string, RuntimeValue> = Object.create(null);
  const walk = (struct: Readonly<Record<string, unknown>>, prefix: string): void => {
    for (const [name, value] of Object.entries(struct)) {
      const key = prefix === '' ? name : `${prefix}.${name}`;
      if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string') values[key] = value;
      else if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw new ConfigProblem(`${path}["${key}"]`, 'must be a number, a truth value, a text, a fraction or a struct of such');
      else {
        const fraction = fractionOf(value as Readonly<Record<string, unknown>>, `${path}["${key}"]`);
        if (fraction === undefined) walk(value as Readonly<Record<string, unknown>>, key);
        else values[key] = fraction;
      }
    }
  };
  walk(layer, '');
  return values;
}

/** A struct with the fields of envoy.type.v3.FractionalPercent is one. */
function fractionOf(value: Readonly<Record<string, unknown>>, path: string): RuntimeValue | undefined {
  const keys = Object.keys(value);
  if (keys.length === 0 || keys.some((key) => key !== 'numerator' && key !== 'denominator')) return undefined;
  const { numerator = 0, denominator = 'HUNDRED' } = value;
  if (typeof numerator !== 'number' || !(numerator >= 0)) throw new ConfigProblem(`${path}.numerator`, 'must be a number of 0 or more');
  const parts = typeof denominator === 'number' ? [...DENOMINATORS.values()][denominator] : DENOMINATORS.get(denominator);
  if (parts === undefined) throw new ConfigProblem(`${path}.denominator`, 'must be HUNDRED, TEN_THOUSAND or MILLION');
  return { numerator, denominator: parts };
}
