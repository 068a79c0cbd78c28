/**
 * The certificate authority of the development control plane and of the tests: SPIFFE X.509-SVIDs (SPIFFE X509-SVID, RFC 5280) on P-256,
 * with `node:crypto` and the DER writer next door. Not for production: its key lives in memory and nothing is ever revoked.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { MeshError } from '../../core/errors.ts';
import { parseAddress } from '../../matching/cidr.ts';
import { bitString, boolean, element, explicit, implicit, integer, octetString, oid, sequence, set, time, utf8String } from './der.ts';

const DAY_MS = 86_400_000;
/** Certificates are valid from a little before their making, for peers whose clocks are behind. */
const BACKDATE_MS = 300_000;

export interface TestCaOptions {
  /** e.g. `cluster.local`. */
  readonly trustDomain: string;
  readonly clock: { wallTime(): number };
  /** Validity of the CA itself; default 3650 days. Negative: already expired. */
  readonly validForMs?: number;
}

export interface LeafRequest {
  /** The whole identity, e.g. `spiffe://cluster.local/ns/shop/sa/cart`; undefined: a certificate without URI SAN. */
  readonly spiffeId?: string;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  /** Common name of the subject; without it the subject is empty and the SAN extension critical (RFC 5280, 4.2.1.6). */
  readonly commonName?: string;
  /** Default 24 h. Negative (down to five minutes): already expired. */
  readonly validForMs?: number;
}

export interface IssuedCertificate {
  readonly certificateChainPem: string;
  /** PKCS #8. */
  readonly privateKeyPem: string;
}

export interface SubordinateOptions {
  /** pathLenConstraint: how many CAs may stand below it. */
  readonly pathLength?: number;
  /** Host that URI names below it must have (name constraints). */
  readonly permittedHost?: string;
}

export interface TestCa {
  readonly trustDomain: string;
  /** The trust anchor; of a subordinate CA its certificate. */
  readonly certificatePem: string;
  issue(request: LeafRequest): IssuedCertificate;
  /** A CA below this one; the chains of what it issues have its certificate. */
  subordinate(options?: SubordinateOptions): TestCa;
}

interface Issuer {
  readonly name: Buffer;
  readonly key: KeyObject;
  readonly identifier: Buffer;
  /** Intermediates that go with what it issues. */
  readonly chainPem: string;
  readonly level: number;
}

interface CertificateFields {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly extensions: readonly Buffer[];
}

const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
const EMPTY_NAME = sequence();

const attribute = (type: string, value: string): Buffer => set(sequence(oid(type), utf8String(value)));
const commonName = (value: string): Buffer => attribute('2.5.4.3', value);

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return critical ? sequence(oid(id), boolean(true), octetString(value)) : sequence(oid(id), octetString(value));
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

const subjectPublicKeyInfo = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });

/** SHA-1 of the key, only as an identifier that links a leaf to its issuer (RFC 5280, 4.2.1.2). */
const keyIdentifier = (key: KeyObject): Buffer => createHash('sha1').update(subjectPublicKeyInfo(key)).digest();

function certificate(fields: CertificateFields, signer: KeyObject): string {
  // 127 bits: positive and never zero.
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serial),
    ECDSA_WITH_SHA256,
    fields.issuer,
    sequence(time(fields.notBeforeMs), time(fields.notAfterMs)),
    fields.subject,
    subjectPublicKeyInfo(fields.publicKey),
    explicit(3, sequence(...fields.extensions)),
  );
  return pem('CERTIFICATE', sequence(body, ECDSA_WITH_SHA256, bitString(sign('sha256', body, signer))));
}

/** Network bytes of an IP address, as the iPAddress SAN wants them. */
function ipBytes(address: string): Buffer {
  const bytes = parseAddress(address);
  if (bytes === undefined)
    throw new MeshError('ERR_MESH_OPTION', `"${address}" is not an IP address`, { cure: 'Give IPv4 or IPv6 in plain notation' });
  return Buffer.from(bytes);
}

function subjectAltNames(request: LeafRequest): Buffer[] {
  return [
    ...(request.spiffeId === undefined ? [] : [implicit(6, Buffer.from(request.spiffeId, 'latin1'))]),
    ...(request.dnsNames ?? []).map((name) => implicit(2, Buffer.from(name, 'latin1'))),
    ...(request.ipAddresses ?? []).map((address) => implicit(7, ipBytes(address))),
  ];
}

const KEY_USAGE = '2.5.29.15';
const BASIC_CONSTRAINTS = '2.5.29.19';
const NAME_CONSTRAINTS = '2.5.29.30';
const SUBJECT_ALT_NAME = '2.5.29.17';
/** Bit strings of KeyUsage: bit 0 is digitalSignature, 5 keyCertSign, 6 cRLSign. */
const DIGITAL_SIGNATURE = bitString(Buffer.from([0b1000_0000]), 7);
const CERT_AND_CRL_SIGN = bitString(Buffer.from([0b0000_0110]), 1);
const BOTH_PURPOSES = sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'));

/** Makes a CA with a fresh key; a few hundred microseconds. */
export function createTestCa(options: TestCaOptions): TestCa {
  return authority(options, undefined, {});
}

function authority(options: TestCaOptions, parent: Issuer | undefined, limits: SubordinateOptions): TestCa {
  const { trustDomain, clock } = options;
  const { pathLength, permittedHost } = limits;
  const level = parent === undefined ? 0 : parent.level + 1;
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const identifier = keyIdentifier(keys.publicKey);
  const name = sequence(attribute('2.5.4.10', 'inmesh test CA'), commonName(`${trustDomain}${level === 0 ? '' : ` ${level}`}`));
  const madeAt = clock.wallTime();
  const certificatePem = certificate(
    {
      issuer: parent?.name ?? name,
      subject: name,
      publicKey: keys.publicKey,
      notBeforeMs: madeAt - BACKDATE_MS,
      notAfterMs: madeAt + (options.validForMs ?? 3650 * DAY_MS),
      extensions: [
        extension(
          BASIC_CONSTRAINTS,
          true,
          sequence(boolean(true), ...(pathLength === undefined ? [] : [integer(Buffer.from([pathLength]))])),
        ),
        extension(KEY_USAGE, true, CERT_AND_CRL_SIGN),
        extension('2.5.29.14', false, octetString(identifier)),
        ...(parent === undefined ? [] : [extension('2.5.29.35', false, sequence(element(0x80, parent.identifier)))]),
        ...(permittedHost === undefined
          ? []
          : [extension(NAME_CONSTRAINTS, true, sequence(explicit(0, sequence(implicit(6, Buffer.from(permittedHost, 'latin1'))))))]),
        extension(SUBJECT_ALT_NAME, false, sequence(implicit(6, Buffer.from(`spiffe://${trustDomain}`, 'latin1')))),
      ],
    },
    parent?.key ?? keys.privateKey,
  );
  const chainPem = parent === undefined ? '' : `${certificatePem}${parent.chainPem}`;

  const issue = (request: LeafRequest): IssuedCertificate => {
    const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const names = subjectAltNames(request);
    const now = clock.wallTime();
    const leafPem = certificate(
      {
        issuer: name,
        subject: request.commonName === undefined ? EMPTY_NAME : sequence(commonName(request.commonName)),
        publicKey: leaf.publicKey,
        notBeforeMs: now - BACKDATE_MS,
        notAfterMs: now + (request.validForMs ?? DAY_MS),
        extensions: [
          // CA:FALSE is the default of BasicConstraints, so it is written as an empty sequence.
          extension(BASIC_CONSTRAINTS, true, sequence()),
          extension(KEY_USAGE, true, DIGITAL_SIGNATURE),
          extension('2.5.29.37', false, BOTH_PURPOSES),
          extension('2.5.29.35', false, sequence(element(0x80, identifier))),
          ...(names.length === 0 ? [] : [extension(SUBJECT_ALT_NAME, request.commonName === undefined, sequence(...names))]),
        ],
      },
      keys.privateKey,
    );
    return {
      certificateChainPem: `${leafPem}${chainPem}`,
      privateKeyPem: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    };
  };

  const subordinate = (below: SubordinateOptions = {}): TestCa =>
    authority(options, { name, key: keys.privateKey, identifier, chainPem, level }, below);

  return { trustDomain, certificatePem, issue, subordinate };
}
