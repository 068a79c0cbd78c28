/** REGISTRY of LB policies: a new policy is one file and one line here. */
import type { LbPolicyFactory } from '../core/extension.ts';

export const LB_POLICIES: readonly LbPolicyFactory<unknown>[] = [];
