/**
 * Which fields of which xDS message inmesh reads: the one source for what decoders record as unsupported (`survey.ts`) and for
 * `docs/reference/xds-support.md`. A field that is not listed is recorded when it is set; in a strict message it rejects the resource.
 */
import { CLUSTER_SUPPORT } from './support-clusters.ts';
import type { MessageSupport } from './support-kinds.ts';
import { LISTENER_SUPPORT } from './support-listeners.ts';
import { ROUTE_SUPPORT } from './support-routes.ts';
import { TLS_SUPPORT } from './support-tls.ts';

export const SUPPORT: Readonly<Record<string, MessageSupport>> = {
  ...LISTENER_SUPPORT,
  ...ROUTE_SUPPORT,
  ...CLUSTER_SUPPORT,
  ...TLS_SUPPORT,
};

export type { FieldSupport, MessageSupport } from './support-kinds.ts';
