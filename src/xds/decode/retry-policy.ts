/** RetryPolicy (gRFC A44; Envoy ). Tokens of `retry_on` that inmesh does not know are recorded and have no effect. */
import type { RetryPolicy } from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import { ConfigProblem } from '../../config/resource.ts';
import type { GrpcRetryCondition, HttpRetryCondition, RetryPolicyConfig } from '../../config/routes.ts';
import { headerMatchers } from './matchers.ts';
import type { Scope } from './scope.ts';
import { enumName, milliseconds, positiveMilliseconds } from './values.ts';

const CONDITIONS: ReadonlySet<string> = new Set<HttpRetryCondition | GrpcRetryCondition>([
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'refused-stream',
  'retriable-4xx',
  'retriable-status-codes',
  'retriable-headers',
  'envoy-ratelimited',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]);
const PREVIOUS_HOSTS = 'envoy.retry_host_predicates.previous_hosts';
const PREVIOUS_HOSTS_TYPE = 'envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate';
const DEFAULT_BASE_MS = 25;
const DEFAULT_RATE_LIMITED_MAX_MS = 300_000;

function conditions(retryOn: string, path: string, scope: Scope): RetryPolicyConfig['on'] {
  const found = new Set<HttpRetryCondition | GrpcRetryCondition>();
  for (const part of retryOn.split(',')) {
    const token = part.trim();
    if (token === '') continue;
    if (CONDITIONS.has(token)) found.add(token as HttpRetryCondition | GrpcRetryCondition);
    else scope.unsupported(`${path}.retry_on=${token}`);
  }
  return [...found];
}

/** Sub-millisecond values round up to 1 ms; a maximum below the base is raised to it (gRFC A44; Envoy rejects that). */
function backOff(policy: RetryPolicy, path: string): { readonly baseIntervalMs: number; readonly maxIntervalMs: number } {
  const base = positiveMilliseconds(policy.retryBackOff?.baseInterval, `${path}.retry_back_off.base_interval`);
  const max = positiveMilliseconds(policy.retryBackOff?.maxInterval, `${path}.retry_back_off.max_interval`);
  const baseIntervalMs = Math.max(1, base ?? DEFAULT_BASE_MS);
  return { baseIntervalMs, maxIntervalMs: Math.max(baseIntervalMs, max ?? baseIntervalMs * 10) };
}

function rateLimited(policy: RetryPolicy, path: string): RetryPolicyConfig['rateLimitedBackOff'] {
  const config = policy.rateLimitedRetryBackOff;
  if (config === undefined) return undefined;
  const at = `${path}.rate_limited_retry_back_off`;
  if (config.resetHeaders.length === 0) throw new ConfigProblem(`${at}.reset_headers`, 'at least one header is needed');
  return {
    headers: config.resetHeaders.map((header, i) => {
      if (header.name === '') throw new ConfigProblem(`${at}.reset_headers[${i}].name`, 'must not be empty');
      return {
        name: header.name.toLowerCase(),
        format: enumName(['seconds', 'unix-timestamp'], header.format, `${at}.reset_headers[${i}].format`),
      };
    }),
    maxIntervalMs: positiveMilliseconds(config.maxInterval, `${at}.max_interval`) ?? DEFAULT_RATE_LIMITED_MAX_MS,
  };
}

function avoidsPreviousHosts(policy: RetryPolicy, path: string, scope: Scope): boolean {
  let found = false;
  for (const [i, predicate] of policy.retryHostPredicate.entries()) {
    const typeUrl = predicate.configType.case === 'typedConfig' ? predicate.configType.value.typeUrl : '';
    if (typeUrl === '' ? predicate.name === PREVIOUS_HOSTS : typeUrl.endsWith(`/${PREVIOUS_HOSTS_TYPE}`)) found = true;
    else scope.unsupported(`${path}.retry_host_predicate[${i}]=${predicate.name}`);
  }
  return found;
}

export function retryPolicy(policy: RetryPolicy, path: string, scope: Scope): RetryPolicyConfig {
  const attempts = policy.hostSelectionRetryMaxAttempts;
  return {
    on: conditions(policy.retryOn, path, scope),
    numRetries: policy.numRetries ?? 1,
    perTryTimeoutMs: milliseconds(policy.perTryTimeout, `${path}.per_try_timeout`) ?? 0,
    ...backOff(policy, path),
    retriableStatusCodes: policy.retriableStatusCodes,
    retriableHeaders: headerMatchers(policy.retriableHeaders, `${path}.retriable_headers`),
    retriableRequestHeaders: headerMatchers(policy.retriableRequestHeaders, `${path}.retriable_request_headers`),
    avoidPreviousHosts: avoidsPreviousHosts(policy, path, scope),
    hostSelectionMaxAttempts: attempts <= 0n ? 1 : Math.min(Number(attempts), 1000),
    rateLimitedBackOff: rateLimited(policy, path),
  };
}
