/**
 * Reads the load that an endpoint reports with its response: xds.data.orca.v3.OrcaLoadReport in `endpoint-load-metrics-bin` (base64), or in
 * `endpoint-load-metrics` as Envoy has it: `BIN `, `JSON ` or `TEXT ` and then the report. What becomes of it is left to `load.ts`.
 */

export type Utilization = 'cpu_utilization' | 'mem_utilization' | 'application_utilization';

export interface OrcaReport {
  readonly utilization: ReadonlyMap<Utilization, number>;
  /** By name, without the prefix `named_metrics.`. */
  readonly named: ReadonlyMap<string, number>;
}

const HEADER = 'endpoint-load-metrics';
const NAMED = 'named_metrics.';

/** Numbers of the fields that are doubles. */
const FIELDS: Readonly<Record<number, Utilization>> = { 1: 'cpu_utilization', 2: 'mem_utilization', 9: 'application_utilization' };
const NAMED_METRICS = 8;
const JSON_NAMES: readonly (readonly [Utilization, string])[] = [
  ['cpu_utilization', 'cpuUtilization'],
  ['mem_utilization', 'memUtilization'],
  ['application_utilization', 'applicationUtilization'],
];

/** The report among these headers; undefined when there is none, or none that can be read: an endpoint must not break its calls by it. */
export function orcaReport(get: (name: string) => string | undefined): OrcaReport | undefined {
  const binary = get(`${HEADER}-bin`);
  if (binary !== undefined) return fromBinary(binary);
  const text = get(HEADER);
  if (text === undefined) return undefined;
  const rest = text.slice(5);
  if (text.startsWith('TEXT ')) return fromText(rest);
  if (text.startsWith('JSON ')) return fromJson(rest);
  return text.startsWith('BIN ') ? fromBinary(text.slice(4)) : undefined;
}

class Builder implements OrcaReport {
  readonly utilization = new Map<Utilization, number>();
  readonly named = new Map<string, number>();

  /** `name` as in text; what is not reported further is left out. */
  add(name: string, value: number): void {
    // Not a number would spoil every sum that it is in.
    if (!Number.isFinite(value)) return;
    if (name.startsWith(NAMED)) this.named.set(name.slice(NAMED.length), value);
    else if (JSON_NAMES.some(([known]) => known === name)) this.utilization.set(name as Utilization, value);
  }
}

function fromText(text: string): OrcaReport {
  const report = new Builder();
  for (const pair of text.split(',')) {
    const at = pair.indexOf('=');
    if (at > 0 && pair.length > at + 1) report.add(pair.slice(0, at).trim(), Number(pair.slice(at + 1)));
  }
  return report;
}

function fromJson(text: string): OrcaReport | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof json !== 'object' || json === null) return undefined;
  const fields = json as Readonly<Record<string, unknown>>;
  const report = new Builder();
  for (const [name, camel] of JSON_NAMES) report.add(name, number(fields[name] ?? fields[camel]));
  const named = fields['named_metrics'] ?? fields['namedMetrics'];
  if (typeof named === 'object' && named !== null)
    for (const [name, value] of Object.entries(named)) report.add(NAMED + name, number(value));
  return report;
}

/** Numbers may be texts in proto JSON. */
function number(value: unknown): number {
  return typeof value === 'number' || (typeof value === 'string' && value.trim() !== '') ? Number(value) : Number.NaN;
}

function fromBinary(base64: string): OrcaReport | undefined {
  const report = new Builder();
  try {
    eachField(Buffer.from(base64, 'base64'), (field, value) => {
      const name = FIELDS[field];
      if (typeof value === 'number') {
        if (name !== undefined) report.add(name, value);
        return;
      }
      if (field !== NAMED_METRICS) return;
      // An entry of the map; a field of its default value may be absent.
      const entry = { key: '', value: 0 };
      eachField(value, (part, inner) => {
        if (part === 1 && typeof inner !== 'number') entry.key = inner.toString('utf8');
        else if (part === 2 && typeof inner === 'number') entry.value = inner;
      });
      report.add(NAMED + entry.key, entry.value);
    });
  } catch {
    return undefined;
  }
  return report;
}

/** Doubles and length-delimited fields; the others are passed over. Throws on bytes that are no message. */
function eachField(bytes: Buffer, found: (field: number, value: number | Buffer) => void): void {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = bytes.readUInt8(at++);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a varint is too long');
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        varint();
        break;
      case 1:
        found(field, bytes.readDoubleLE(at));
        at += 8;
        break;
      case 2: {
        const length = varint();
        if (length > bytes.length - at) throw new RangeError('a field is longer than the message');
        found(field, bytes.subarray(at, at + length));
        at += length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw new RangeError('an unknown wire type');
    }
  }
}
