/**
 * `initial_metadata` of Envoy's GrpcService. Of the command operators for header values those have a meaning here that do not speak of a
 * request: `%ENVIRONMENT(NAME)%`, `%FILE_CONTENT(PATH)%` (read for every stream) and `%%`. Values are secrets and never shown.
 */
import type { MetadataEntryConfig } from '../config/bootstrap.ts';
import { metadataKeyProblem, metadataValueProblem } from '../config/control-plane-identity.ts';
import type { Environment } from '../core/environment.ts';
import type { ProtoFields } from './envoy-fields.ts';

const OPERATOR = /%(?:%|([A-Z_]+)(?:\(([^)]*)\))?(?::\d+)?%)?/g;

type Part = MetadataEntryConfig['parts'][number];

function partsOf(text: string, entry: ProtoFields, env: Environment): readonly Part[] {
  const parts: Part[] = [];
  let plain = '';
  let end = 0;
  for (const match of text.matchAll(OPERATOR)) {
    plain += text.slice(end, match.index);
    end = match.index + match[0].length;
    const [whole, operator, argument = ''] = match;
    if (whole === '%%') plain += '%';
    else if (operator === 'ENVIRONMENT') {
      const value = env[argument];
      if (value === undefined) throw entry.problem('value', `needs the environment variable ${argument}, which is not set`);
      plain += value;
    } else if (operator === 'FILE_CONTENT' && argument !== '') {
      if (plain !== '') parts.push(plain);
      plain = '';
      parts.push({ file: argument });
    } else {
      const what = operator === undefined ? 'a single "%"' : `%${operator}%`;
      throw entry.problem(
        'value',
        `has ${what}, which means nothing for a stream to a control plane`,
        'Use a text, %ENVIRONMENT(NAME)% or %FILE_CONTENT(PATH)%, and %% for a percent sign',
      );
    }
  }
  plain += text.slice(end);
  if (plain !== '' || parts.length === 0) parts.push(plain);
  return parts;
}

/** The entries of a GrpcService. */
export function initialMetadata(service: ProtoFields, env: Environment): readonly MetadataEntryConfig[] {
  return service.messages('initial_metadata').map((entry) => {
    const key = entry.requiredString('key').toLowerCase();
    const problem = metadataKeyProblem(key);
    if (problem !== undefined) throw entry.problem('key', `${JSON.stringify(key)} ${problem}`);
    if (entry.has('raw_value')) throw entry.problem('raw_value', 'is not supported', 'Use value');
    const parts = partsOf(entry.string('value') ?? '', entry, env);
    for (const part of parts) {
      const wrong = typeof part === 'string' ? metadataValueProblem(part) : undefined;
      if (wrong !== undefined) throw entry.problem('value', wrong);
    }
    entry.recordRest();
    return { key, parts };
  });
}
