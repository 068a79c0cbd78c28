/** What the RBAC filter accepts, ignores and refuses as a whole; the matchers are in test/conformance/rbac. */
import { describe, expect, it } from 'vitest';
import type { AnyMessage } from '../../../src/core/extension.ts';
import { rbacFilter } from '../../../src/filters/rbac/index.ts';
import { FILTERS } from '../../../src/filters/registry.ts';
import { deps, filterConfig, overrideConfig, parseContext } from './support.ts';

const ANYBODY = { permissions: [{ any: true }], principals: [{ any: true }] };
const parse = (json: object, context = parseContext()): unknown => rbacFilter.parse(filterConfig(json), context);
const problem = (field: RegExp, reason = /./): object =>
  expect.objectContaining({ name: 'ConfigProblem', field: expect.stringMatching(field), reason: expect.stringMatching(reason) });

describe('the RBAC filter', () => {
  it('is registered', () => {
    expect(FILTERS).toContain(rbacFilter);
  });

  it.each([
    ['no rules (peer defect 17)', {}, []],
    ['action LOG (peer defect 17)', { rules: { action: 'LOG', policies: { p: ANYBODY } } }, ['rules.action LOG']],
    ['action LOG with policies that it could not serve', { rules: { action: 'LOG', policies: { p: {} } } }, ['rules.action LOG']],
    ['shadow rules only', { shadow_rules: { action: 'DENY', policies: { p: ANYBODY } } }, ['shadow_rules']],
  ])('does nothing with %s', (_what, json, unsupported) => {
    const context = parseContext();
    const config = rbacFilter.parse(filterConfig(json), context);
    expect(config).toEqual({ rules: undefined });
    expect(rbacFilter.layer(config, deps)).toBeUndefined();
    expect(context.fields).toEqual(unsupported);
  });

  it('has policies in order of their names', () => {
    expect(parse({ rules: { action: 'DENY', policies: { b: ANYBODY, a: ANYBODY } } })).toMatchObject({
      rules: { action: 'deny', policies: [{ name: 'a' }, { name: 'b' }] },
    });
  });

  it.each<[string, object, RegExp, RegExp]>([
    [
      'a CEL condition',
      { rules: { policies: { p: { ...ANYBODY, condition: { id: '1' } } } } },
      /^rules\.policies\["p"\]\.condition$/,
      /A41/,
    ],
    ['a checked CEL condition', { rules: { policies: { p: { ...ANYBODY, checked_condition: {} } } } }, /checked_condition$/, /A41/],
    ['no permissions', { rules: { policies: { p: { principals: [{ any: true }] } } } }, /permissions$/, /empty/],
    ['no principals', { rules: { policies: { p: { permissions: [{ any: true }] } } } }, /principals$/, /empty/],
    ['an unknown action', { rules: { action: 7 } }, /^rules\.action$/, /7/],
    ['a matcher tree', { matcher: {} }, /^matcher$/, /not supported/],
    [
      'an audit logger',
      { rules: { audit_logging_options: { audit_condition: 'ON_DENY', logger_configs: [{ audit_logger: { name: 'file' } }] } } },
      /logger_configs\[0\]/,
      /"file"/,
    ],
  ])('rejects %s', (_what, json, field, reason) => {
    expect(() => parse(json)).toThrow(problem(field, reason));
  });

  it('goes without an audit logger that is optional (gRFC A59)', () => {
    const context = parseContext();
    parse({ rules: { audit_logging_options: { logger_configs: [{ audit_logger: { name: 'file' }, is_optional: true }] } } }, context);
    expect(context.fields).toEqual(['rules.audit_logging_options.logger_configs[0]']);
  });

  it('rejects deep nesting instead of overflowing the stack', () => {
    const nest = (depth: number): object => (depth === 0 ? { any: true } : { not_rule: nest(depth - 1) });
    const rules = (depth: number): object => ({ rules: { policies: { p: { permissions: [nest(depth)], principals: [{ any: true }] } } } });
    expect(() => parse(rules(30))).not.toThrow();
    expect(() => parse(rules(65))).toThrow(problem(/not_rule/, /nested/));
  });

  it('rejects fields from the future, wherever they stand', () => {
    // Field 900, a varint: what a newer control plane might use to narrow a policy.
    const future = Buffer.from([0xa0, 0x38, 0x01]);
    const header = [{ header: { name: 'x', string_match: { exact: 'y' } } }];
    const whole = filterConfig({ rules: { policies: { p: { permissions: header, principals: [{ any: true }] } } } });
    const bytes = Buffer.from(whole.value);
    // Lengthens every enclosing message by the field: the tree is Filter > rules > policies entry > Policy > Permission > HeaderMatcher > StringMatcher.
    const broken: AnyMessage[] = [{ ...whole, value: Buffer.concat([bytes, future]) }];
    for (let depth = 1; depth <= 6; depth++) broken.push({ ...whole, value: insertAt(bytes, depth, future) });
    const rejections = broken.map((config) => {
      try {
        rbacFilter.parse(config, parseContext());
        return 'accepted';
      } catch (error) {
        return (error as Error).name;
      }
    });
    // The map entry itself is no message of ours: what is unknown there is dropped by the runtime.
    expect(rejections).toEqual([
      'ConfigProblem',
      'ConfigProblem',
      'accepted',
      'ConfigProblem',
      'ConfigProblem',
      'ConfigProblem',
      'ConfigProblem',
    ]);
  });
});

/** Adds `extra` at the end of the message `depth` levels down along the first length-delimited field that is a message (all are shorter than 128 bytes). */
function insertAt(bytes: Buffer, depth: number, extra: Buffer): Buffer {
  if (depth === 0) return Buffer.concat([bytes, extra]);
  // In a map entry the key comes first; in a HeaderMatcher the name does.
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at] ?? 0;
    const size = bytes[at + 1] ?? 0;
    const isText = bytes.subarray(at + 2, at + 2 + size).toString() === 'p' || bytes.subarray(at + 2, at + 2 + size).toString() === 'x';
    if ((tag & 7) === 2 && !isText) {
      const tagBytes = (tag & 0x80) === 0 ? 1 : 2;
      const length = bytes[at + tagBytes] ?? 0;
      const start = at + tagBytes + 1;
      const inner = insertAt(bytes.subarray(start, start + length), depth - 1, extra);
      return Buffer.concat([bytes.subarray(0, at + tagBytes), Buffer.from([inner.length]), inner, bytes.subarray(start + length)]);
    }
    at += 2 + size;
  }
  throw new Error('no message inside');
}

describe('the RBAC override', () => {
  const override = (json: object): unknown => rbacFilter.parseOverride?.(overrideConfig(json), parseContext());

  it('is a whole configuration', () => {
    expect(override({ rbac: { rules: { action: 'DENY', policies: { p: ANYBODY } } } })).toMatchObject({ rules: { action: 'deny' } });
  });

  it.each([{}, { rbac: {} }])('switches the filter off with %j', (json) => {
    expect(override(json)).toEqual({ rules: undefined });
  });

  it('is checked like the filter itself, with its own path', () => {
    expect(() => override({ rbac: { rules: { policies: { p: { permissions: [{}], principals: [{ any: true }] } } } } })).toThrow(
      problem(/^rbac\.rules\.policies\["p"\]\.permissions\[0\]$/),
    );
  });

  it('has its own type, and cannot stand for the filter', () => {
    expect(() => rbacFilter.parseOverride?.(filterConfig({}), parseContext())).toThrow(problem(/typed_per_filter_config/, /RBACPerRoute/));
    expect(() => rbacFilter.parse(overrideConfig({}), parseContext())).toThrow(problem(/typed_config/, /RBACPerRoute/));
  });

  it('rejects bytes that are no RBAC', () => {
    expect(() => rbacFilter.parse({ typeUrl: filterConfig({}).typeUrl, value: Buffer.from([0x0a, 0x05, 0x01]) }, parseContext())).toThrow(
      problem(/typed_config/),
    );
  });
});
