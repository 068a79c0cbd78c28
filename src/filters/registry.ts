/** REGISTRY of HTTP filters: a new filter is one file (or folder) and one line here. */
import type { FilterFactory } from '../core/extension.ts';
import { ON_DEMAND } from './on-demand.ts';
import { rbacFilter } from './rbac/index.ts';
import { ROUTER } from './router.ts';
import { WITHOUT_EFFECT } from './without-effect.ts';

export const FILTERS: readonly FilterFactory<unknown>[] = [ROUTER, rbacFilter, ON_DEMAND, WITHOUT_EFFECT];
