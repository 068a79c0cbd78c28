/**
 * Looks at every field that is set in a decoded message and compares with the table of `support.ts`: fields that inmesh cannot
 * honour reject the resource or are recorded, so that no decoder has to think of what it does not read.
 */
import { ConfigProblem } from '../../config/resource.ts';
import { fieldsOf, unknownFieldsOf } from '../../proto/any.ts';
import type { FieldOf, Message } from '../../proto/any.ts';
import type { Scope } from './scope.ts';
import { SUPPORT } from './support.ts';
import type { FieldSupport } from './support.ts';

interface SurveyedField {
  readonly field: FieldOf;
  readonly support: FieldSupport | undefined;
}

/** For one message type: the fields that need a look. Those that are read and hold nothing below are left out. */
interface Plan {
  readonly strict: boolean;
  readonly fields: readonly SurveyedField[];
}

const plans = new Map<string, Plan | undefined>();

function planOf(typeName: string): Plan | undefined {
  if (plans.has(typeName)) return plans.get(typeName);
  const entry = SUPPORT[typeName];
  const plan = entry && {
    strict: entry.strict ?? false,
    fields: fieldsOf(typeName).flatMap((field) => {
      const support = entry.fields[field.name];
      if (support?.kind === 'not-applicable') return [];
      const leaf = field.message === undefined || SUPPORT[field.message] === undefined;
      return support?.kind === 'read' && leaf ? [] : [{ field, support }];
    }),
  };
  plans.set(typeName, plan);
  return plan;
}

function below(value: unknown, path: string, repeated: boolean, scope: Scope): void {
  if (!repeated) return survey(value as Message, path, scope);
  if (Array.isArray(value)) for (const [i, item] of value.entries()) survey(item as Message, `${path}[${i}]`, scope);
  else for (const [key, item] of Object.entries(value as Record<string, Message>)) survey(item, `${path}["${key}"]`, scope);
}

/** Throws `ConfigProblem` for a field that rejects; records what has no effect. */
export function survey(message: Message, path: string, scope: Scope): void {
  const plan = planOf(message.$typeName);
  if (plan === undefined) return;
  const at = path === '' ? '' : `${path}.`;
  for (const { field, support } of plan.fields) {
    const value = field.valueIn(message);
    if (value === undefined) continue;
    if (support?.kind === 'read') below(value, at + field.name, field.repeated, scope);
    else if (support?.kind === 'rejects') throw new ConfigProblem(at + field.name, support.reason);
    else if (support?.kind === 'unless' && support.harmless === value) continue;
    else if (support?.kind === 'unless' || plan.strict) {
      throw new ConfigProblem(at + field.name, support?.kind === 'unless' ? support.reason : 'is not supported');
    } else scope.unsupported(at + field.name);
  }
  if (message.$unknown === undefined) return;
  for (const number of unknownFieldsOf(message)) {
    if (plan.strict) throw new ConfigProblem(path, `field number ${number} of ${message.$typeName} is not known to inmesh`);
    scope.unsupported(`${at}#${number}`);
  }
}
