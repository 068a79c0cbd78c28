/** CA certificates that sign each other, as a CA of a federated domain could make them: the search for a chain must not go round in them. */
import { X509Certificate, generateKeyPairSync, sign } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import { expect, test } from 'vitest';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import {
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  octetString,
  oid,
  sequence,
  set,
  time,
  utf8String,
} from '../../../src/control-plane/ca/der.ts';
import type { TrustAnchors } from '../../../src/security/material.ts';
import { spiffeProblem } from '../../../src/security/spiffe.ts';

const DAY_MS = 86_400_000;
const clock = { wallTime: () => 1_800_000_000_000 };
const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const NAME = sequence(set(sequence(oid('2.5.4.3'), utf8String('one name, one key'))));
const ALGORITHM = sequence(oid('1.2.840.10045.4.3.2'));
const extension = (id: string, value: Buffer): Buffer => sequence(oid(id), boolean(true), octetString(value));
const CA = [extension('2.5.29.19', sequence(boolean(true))), extension('2.5.29.15', bitString(Buffer.from([0b0000_0110]), 1))];

/** All of the same name and key, so that each signs all the others. */
function certificate(serial: number, extensions: readonly Buffer[], subject = NAME): X509Certificate {
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(Buffer.from([serial])),
    ALGORITHM,
    NAME,
    sequence(time(clock.wallTime() - DAY_MS), time(clock.wallTime() + DAY_MS)),
    subject,
    keys.publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions)),
  );
  return new X509Certificate(sequence(body, ALGORITHM, bitString(sign('sha256', body, keys.privateKey))));
}

const anchorsOf = (pem: string): TrustAnchors => ({ pem: Buffer.from(pem), notAfter: clock.wallTime() + DAY_MS });

/** As `getPeerCertificate(true)` shows it. */
function shown([first, ...rest]: readonly X509Certificate[]): PeerCertificate {
  const { raw, fingerprint256 } = first as X509Certificate;
  return { raw, fingerprint256, ...(rest.length > 0 && { issuerCertificate: shown(rest) }) } as unknown as PeerCertificate;
}

const uri = 'spiffe://dev/a';
const leaf = certificate(1, [extension('2.5.29.17', sequence(implicit(6, Buffer.from(uri, 'latin1'))))], sequence());
const circle = Array.from({ length: 8 }, (_, i) => certificate(i + 2, CA));
const problem = (anchors: string): string | undefined => {
  const dev = createTestCa({ trustDomain: 'dev', clock });
  const domains = new Map([
    ['dev', anchorsOf(`${dev.certificatePem}${anchors}`)],
    ['other', anchorsOf(circle[0]?.toString() ?? '')],
  ]);
  return spiffeProblem(shown([leaf, ...circle]), [{ type: 'uri', value: uri }], { domains, wallTime: clock.wallTime });
};

test('eight CA certificates that sign each other lead nowhere, soon', () => {
  const start = performance.now();
  expect(problem('')).toContain('no chain leads');
  // Every way through them would be sixteen million signatures.
  expect(performance.now() - start).toBeLessThan(5000);
});

test('where one of them is trusted, they lead to it', () => {
  expect(problem(circle[7]?.toString() ?? '')).toBeUndefined();
});
