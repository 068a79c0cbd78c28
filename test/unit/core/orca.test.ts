/** What endpoints say of themselves, in all the ways that Envoy knows, and whatever else may come. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { orcaReport } from '../../../src/core/orca.ts';

const double = (field: number, value: number): Buffer => {
  const bytes = Buffer.alloc(9);
  bytes[0] = (field << 3) | 1;
  bytes.writeDoubleLE(value, 1);
  return bytes;
};
const bytesOf = (field: number, value: Buffer): Buffer => Buffer.concat([Buffer.of((field << 3) | 2, value.length), value]);
const named = (name: string, value: number): Buffer => bytesOf(8, Buffer.concat([bytesOf(1, Buffer.from(name)), double(2, value)]));

/** rps (3) is a varint, request_cost (4) and utilization (5) are maps, eps (7) is a double: none of them is looked at. */
const BINARY = Buffer.concat([
  double(1, 0.5),
  Buffer.of(3 << 3, 0x96, 0x01),
  bytesOf(4, Buffer.concat([bytesOf(1, Buffer.from('cost')), double(2, 9)])),
  double(7, 3),
  named('queue', 1.5),
  named('depth', -2),
  double(9, 0.75),
]).toString('base64');

const read = (headers: Readonly<Record<string, string>>) => {
  const report = orcaReport((name) => headers[name]);
  return report && { ...Object.fromEntries(report.utilization), named: Object.fromEntries(report.named) };
};

const ALL = { cpu_utilization: 0.5, application_utilization: 0.75, named: { queue: 1.5, depth: -2 } };

test.each<[string, Readonly<Record<string, string>>]>([
  ['binary', { 'endpoint-load-metrics-bin': BINARY }],
  ['binary without padding', { 'endpoint-load-metrics-bin': BINARY.replace(/=+$/, '') }],
  ['binary in text', { 'endpoint-load-metrics': `BIN ${BINARY}` }],
  ['the binary header wins', { 'endpoint-load-metrics-bin': BINARY, 'endpoint-load-metrics': 'TEXT cpu_utilization=1' }],
  [
    'text',
    {
      'endpoint-load-metrics':
        'TEXT cpu_utilization=0.5, application_utilization=0.75,named_metrics.queue=1.5,named_metrics.depth=-2,eps=1',
    },
  ],
  [
    'JSON by proto names',
    { 'endpoint-load-metrics': 'JSON {"cpu_utilization":0.5,"application_utilization":"0.75","named_metrics":{"queue":1.5,"depth":-2}}' },
  ],
  [
    'JSON',
    { 'endpoint-load-metrics': 'JSON {"cpuUtilization":0.5,"applicationUtilization":0.75,"namedMetrics":{"queue":1.5,"depth":-2}}' },
  ],
])('%s', (_name, headers) => {
  expect(read(headers)).toEqual(ALL);
});

test.each<[string, Readonly<Record<string, string>>, unknown]>([
  ['no header', {}, undefined],
  ['no format', { 'endpoint-load-metrics': 'cpu_utilization=1' }, undefined],
  ['bad JSON', { 'endpoint-load-metrics': 'JSON {' }, undefined],
  ['JSON of another kind', { 'endpoint-load-metrics': 'JSON 5' }, undefined],
  ['no bytes at all', { 'endpoint-load-metrics-bin': '' }, { named: {} }],
  ['bytes cut short', { 'endpoint-load-metrics-bin': Buffer.from(BINARY, 'base64').subarray(0, 5).toString('base64') }, undefined],
  ['a group', { 'endpoint-load-metrics-bin': Buffer.of((1 << 3) | 3).toString('base64') }, undefined],
  [
    'no numbers',
    { 'endpoint-load-metrics': 'TEXT cpu_utilization=NaN,mem_utilization=x,named_metrics.a=Infinity,=1,named_metrics.b=' },
    { named: {} },
  ],
  [
    'a metric of value 0',
    { 'endpoint-load-metrics-bin': bytesOf(8, bytesOf(1, Buffer.from('zero'))).toString('base64') },
    { named: { zero: 0 } },
  ],
])('%s', (_name, headers, expected) => {
  expect(read(headers)).toEqual(expected);
});

test('whatever an endpoint sends, nothing throws, and every value is a number', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.string(), fc.constantFrom('BIN ', 'JSON ', 'TEXT ', ''), (bytes, text, format) => {
      const headers = [
        { 'endpoint-load-metrics-bin': Buffer.from(bytes).toString('base64') },
        { 'endpoint-load-metrics-bin': text },
        { 'endpoint-load-metrics': format + text },
      ];
      for (const one of headers) {
        const report = orcaReport((name) => (one as Readonly<Record<string, string>>)[name]);
        for (const value of [...(report?.named.values() ?? []), ...(report?.utilization.values() ?? [])])
          expect(Number.isFinite(value)).toBe(true);
      }
    }),
  );
});
