/** What the tables of validation rules share. */
import { expect, test } from 'vitest';
import type { ResourceKind } from '../../../src/config/resource.ts';
import type { DecodeContext } from '../../../src/xds/resource-type.ts';
import { rejection } from '../../unit/xds-decode/harness.ts';
import type { Json } from '../../unit/xds-decode/harness.ts';

/** `expected`: 'accepted', or the beginning of the rejection, which names the field. */
export type Row = readonly [rule: string, title: string, resource: Json, expected: string];

export function check(kind: ResourceKind, rows: readonly Row[], given: Partial<DecodeContext> = {}): void {
  test.each(rows)('rule %s: %s', (_rule, _title, resource, expected) => {
    expect(rejection(kind, resource, given).slice(0, Math.max(expected.length, 'accepted'.length))).toBe(expected);
  });
}

export const UNKNOWN_FILTER = { name: 'cors', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors' } };
export const FAULT_FILTER = {
  name: 'fault',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault' },
};
