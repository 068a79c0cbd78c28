/** Runs the RBAC table through the filter as it is used: protobuf bytes, parse, layer, step; each row once with ALLOW and once with DENY. */
import { describe, expect, test } from 'vitest';
import { InboundCall } from '../../../src/core/call.ts';
import type { PeerTls } from '../../../src/core/call.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import { rbacFilter } from '../../../src/filters/rbac/index.ts';
import { deps, filterConfig, parseContext } from '../../unit/filters-rbac/support.ts';
import table from './rules.json' with { type: 'json' };

interface Row {
  readonly permission?: object;
  readonly principal?: object;
  readonly call?: 'http' | 'grpc';
  readonly method?: string;
  readonly path?: string;
  readonly authority?: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly local?: readonly [string, number];
  readonly remote?: readonly [string, number];
  readonly tls?: Partial<PeerTls>;
  readonly is: boolean;
  readonly why?: string;
}

function callOf(row: Row): InboundCall {
  const [localAddress, localPort] = row.local ?? ['127.0.0.1', 80];
  const [remoteAddress, remotePort] = row.remote ?? ['127.0.0.1', 40_000];
  const tls = row.tls === undefined ? undefined : { authenticated: true, uriSans: [], dnsSans: [], subject: '', ...row.tls };
  return new InboundCall(
    {
      protocol: row.call ?? 'http',
      method: row.method ?? 'GET',
      scheme: 'http',
      authority: row.authority ?? 'shop',
      path: row.path ?? '/',
      headers: new HeaderList(row.headers ?? []),
    },
    { localAddress, localPort, remoteAddress, remotePort, tls },
    () => Promise.reject(new Error('not reached')),
  );
}

function rulesOf(row: Pick<Row, 'permission' | 'principal'>, action: 'ALLOW' | 'DENY'): object {
  return { action, policies: { p: { permissions: [row.permission ?? { any: true }], principals: [row.principal ?? { any: true }] } } };
}

const rows = table.rows as unknown as readonly Row[];
const rejected = table.rejected as unknown as readonly (Pick<Row, 'permission' | 'principal'> & { readonly field: string })[];

describe('RBAC rules (gRFC A41)', () => {
  test.each(rows.map((row) => [JSON.stringify(row), row] as const))('%s', (_name, row) => {
    for (const action of ['ALLOW', 'DENY'] as const) {
      const config = rbacFilter.parse(filterConfig({ rules: rulesOf(row, action) }), parseContext());
      const answer = rbacFilter.layer(config, deps)?.step?.enter(callOf(row));
      expect([action, answer?.failure?.kind.details]).toEqual([action, row.is === (action === 'ALLOW') ? undefined : 'rbac_access_denied']);
    }
  });

  test.each(rejected.map((row) => [JSON.stringify(row), row] as const))('rejects %s', (_name, row) => {
    const parse = (): unknown => rbacFilter.parse(filterConfig({ rules: rulesOf(row, 'ALLOW') }), parseContext());
    expect(parse).toThrow(
      expect.objectContaining({ name: 'ConfigProblem', field: expect.stringMatching(`^rules\\.policies\\["p"\\].*${row.field}`) }),
    );
  });
});
