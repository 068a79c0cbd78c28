/**
 * Writes ASN.1 DER (ITU-T X.690), just what X.509 certificates need: every function returns one encoded element.
 * It only writes; certificates are read by Node's `X509Certificate`.
 */

function length(size: number): Buffer {
  if (size < 0x80) return Buffer.from([size]);
  const bytes: number[] = [];
  for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

/** Any element by its identifier octet. */
export function element(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  return Buffer.concat([Buffer.from([tag]), length(body.length), body]);
}

export const sequence = (...items: readonly Uint8Array[]): Buffer => element(0x30, ...items);
export const set = (...items: readonly Uint8Array[]): Buffer => element(0x31, ...items);
export const octetString = (...content: readonly Uint8Array[]): Buffer => element(0x04, ...content);
export const utf8String = (text: string): Buffer => element(0x0c, Buffer.from(text, 'utf8'));
export const boolean = (value: boolean): Buffer => element(0x01, Buffer.from([value ? 0xff : 0x00]));

/** `[n]` around complete elements. */
export const explicit = (number: number, ...content: readonly Uint8Array[]): Buffer => element(0xa0 | number, ...content);

/** `[n]` in the place of a primitive type's own tag. */
export const implicit = (number: number, content: Uint8Array): Buffer => element(0x80 | number, content);

/** A non-negative integer from big-endian bytes, in as few octets as DER allows. */
export function integer(bigEndian: Uint8Array): Buffer {
  let start = 0;
  while (start < bigEndian.length - 1 && bigEndian[start] === 0) start++;
  const bytes = bigEndian.subarray(start);
  return element(0x02, Buffer.from((bytes[0] ?? 0) >= 0x80 || bytes.length === 0 ? [0] : []), bytes);
}

export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return element(0x03, Buffer.from([unusedBits]), bytes);
}

/** From dotted text, e.g. `2.5.29.17`. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const septets = [arc % 128];
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) septets.unshift((high % 128) | 0x80);
    bytes.push(...septets);
  }
  return element(0x06, Buffer.from(bytes));
}

const two = (value: number): string => String(value).padStart(2, '0');

/**
 * A point in time from milliseconds since the Unix epoch, to the second: UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280, 4.1.2.5).
 * The calendar is counted here (days of 400-year eras beginning in March), so that no clock but the caller's is involved.
 */
export function time(epochMs: number): Buffer {
  const seconds = Math.floor(epochMs / 1000);
  const daySeconds = ((seconds % 86_400) + 86_400) % 86_400;
  const days = (seconds - daySeconds) / 86_400 + 719_468;
  const era = Math.floor(days / 146_097);
  const dayOfEra = days - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const rest = `${two(month)}${two(day)}${two(Math.floor(daySeconds / 3600))}${two(Math.floor(daySeconds / 60) % 60)}${two(daySeconds % 60)}Z`;
  return year >= 1950 && year < 2050
    ? element(0x17, Buffer.from(`${two(year % 100)}${rest}`, 'latin1'))
    : element(0x18, Buffer.from(`${String(year).padStart(4, '0')}${rest}`, 'latin1'));
}
