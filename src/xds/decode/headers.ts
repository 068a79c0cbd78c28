/** Header mutations of every routing level (Envoy ). */
import type { HeaderValueOption } from '../../proto/gen/envoy/config/core/v3/base_pb.js';
import { ConfigProblem } from '../../config/resource.ts';
import { NO_HEADER_MUTATION } from '../../config/routes.ts';
import type { HeaderMutationConfig, HeaderValueConfig } from '../../config/routes.ts';
import { checkFormat } from '../../matching/format.ts';
import { enumName } from './values.ts';

/** What all levels have in common. */
export interface WithHeaderMutation {
  readonly requestHeadersToAdd: readonly HeaderValueOption[];
  readonly requestHeadersToRemove: readonly string[];
  readonly responseHeadersToAdd: readonly HeaderValueOption[];
  readonly responseHeadersToRemove: readonly string[];
}

const ACTIONS = ['append', 'add-if-absent', 'overwrite', 'overwrite-if-exists'] as const;
const MAX_ENTRIES = 1000;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Envoy R-102: pseudo headers and Host cannot be changed here. */
function headerName(name: string, path: string): string {
  const lower = name.toLowerCase();
  if (lower === '' || lower.startsWith(':') || lower === 'host') throw new ConfigProblem(path, `header "${name}" cannot be changed here`);
  if (!TOKEN.test(lower)) throw new ConfigProblem(path, `"${name}" is not a header name`);
  return lower;
}

function headerValue(option: HeaderValueOption, path: string): HeaderValueConfig {
  const { header } = option;
  const name = headerName(header?.key ?? '', `${path}.header.key`);
  const raw = header?.rawValue;
  const value = raw !== undefined && raw.length > 0 ? Buffer.from(raw).toString('utf8') : (header?.value ?? '');
  if (/[\r\n\0]/.test(value)) throw new ConfigProblem(`${path}.header.value`, 'a header value has no line breaks');
  const reason = checkFormat(value);
  if (reason !== undefined) throw new ConfigProblem(`${path}.header.value`, reason);
  const action = enumName(ACTIONS, option.appendAction, `${path}.append_action`);
  // The old `append: false` means overwrite; the newer field wins where it says something.
  const legacy = option.append === false && action === 'append' ? 'overwrite' : action;
  return { name, value, action: legacy, keepEmpty: option.keepEmptyValue };
}

function added(options: readonly HeaderValueOption[], path: string): HeaderValueConfig[] {
  if (options.length > MAX_ENTRIES) throw new ConfigProblem(path, `more than ${MAX_ENTRIES} headers`);
  return options.map((option, i) => headerValue(option, `${path}[${i}]`));
}

function removed(names: readonly string[], path: string): string[] {
  return names.map((name, i) => headerName(name, `${path}[${i}]`));
}

export function headerMutation(level: WithHeaderMutation, path: string): HeaderMutationConfig {
  const { requestHeadersToAdd, requestHeadersToRemove, responseHeadersToAdd, responseHeadersToRemove } = level;
  if (requestHeadersToAdd.length + requestHeadersToRemove.length + responseHeadersToAdd.length + responseHeadersToRemove.length === 0) {
    return NO_HEADER_MUTATION;
  }
  const at = path === '' ? '' : `${path}.`;
  return {
    requestAdd: added(requestHeadersToAdd, `${at}request_headers_to_add`),
    requestRemove: removed(requestHeadersToRemove, `${at}request_headers_to_remove`),
    responseAdd: added(responseHeadersToAdd, `${at}response_headers_to_add`),
    responseRemove: removed(responseHeadersToRemove, `${at}response_headers_to_remove`),
  };
}
