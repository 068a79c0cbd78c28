/**
 * The RBAC filter (gRFC A41): a step that lets a call through or answers 403 / PERMISSION_DENIED. The answer never says which policy
 * decided; parsing and evaluation are next door.
 */
import type { RbacConfig } from '../../config/rbac.ts';
import { readsMetadata } from '../../config/rbac.ts';
import type { Call } from '../../core/call.ts';
import type { FilterFactory } from '../../core/extension.ts';
import { FAILURES, failure } from '../../core/failure.ts';
import { stepLayer } from '../../core/handler.ts';
import type { Step } from '../../core/handler.ts';
import type { Reply } from '../../core/reply.ts';
import { failureReply } from '../../core/reply.ts';
import { compileRules } from './engine.ts';
import type { CallPredicate } from './engine.ts';
import { parseRbac, parseRbacOverride, RBAC_OVERRIDE_TYPE_URL, RBAC_TYPE_URL } from './parse.ts';

export { RBAC_TYPE_URL } from './parse.ts';

class RbacStep implements Step<Call> {
  readonly #allows: CallPredicate;

  constructor(allows: CallPredicate) {
    this.#allows = allows;
  }

  enter(call: Call): Reply | undefined {
    try {
      return this.#allows(call) ? undefined : failureReply(failure(FAILURES.rbacDenied, 'RBAC: access denied'));
    } catch (error) {
      // grpc.md §6.5: what cannot be evaluated is INTERNAL, and never let through.
      return failureReply(failure(FAILURES.filterFailed, 'RBAC: the request could not be evaluated', error));
    }
  }
}

export const rbacFilter: FilterFactory<RbacConfig> = {
  typeUrls: [RBAC_TYPE_URL, RBAC_OVERRIDE_TYPE_URL],
  directions: ['inbound', 'outbound'],
  parse: parseRbac,
  parseOverride: parseRbacOverride,
  readsMetadata,
  layer: ({ rules }) => (rules === undefined || rules.action === 'log' ? undefined : stepLayer('rbac', new RbacStep(compileRules(rules)))),
};
