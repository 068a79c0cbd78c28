/**
 * The `tls` credentials of a bootstrap (gRFC A65): files are read for every new connection, so what was replaced on disk counts from the
 * next one on. A replacement that cannot be used leaves the last good files in force; the name of the server is always checked.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext } from 'node:tls';
import type { PeerCertificate, SecureContext } from 'node:tls';
import type { Logger } from '../../core/log.ts';
import type { ClientSecurity, TlsMaterial } from '../../core/tls.ts';

export interface TlsFiles {
  readonly certificateFile: string | undefined;
  readonly privateKeyFile: string | undefined;
  /** Undefined: the system's roots. */
  readonly caCertificateFile: string | undefined;
}

interface Pair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export class FileSecurity implements ClientSecurity {
  readonly generation = 0;
  readonly verifiesChain = true;
  readonly alpn = ['h2'];
  readonly serverName: string | undefined;
  readonly #files: TlsFiles;
  readonly #log: Logger;
  #pair: Pair | undefined;
  #roots: Buffer | undefined;
  #reported = '';
  problem = '';

  constructor(files: TlsFiles, host: string, log: Logger) {
    this.#files = files;
    this.#log = log;
    this.serverName = isIP(host) === 0 && host !== '' ? host : undefined;
  }

  material(): TlsMaterial | undefined {
    const problems: string[] = [];
    const { certificateFile, privateKeyFile, caCertificateFile } = this.#files;
    if (certificateFile !== undefined) this.#pair = attempt(() => readPair(certificateFile, privateKeyFile), problems) ?? this.#pair;
    if (caCertificateFile !== undefined) this.#roots = attempt(() => readRoots(caCertificateFile), problems) ?? this.#roots;
    this.problem = problems.join('; ');
    const complete =
      (certificateFile === undefined || this.#pair !== undefined) && (caCertificateFile === undefined || this.#roots !== undefined);
    this.#report(complete);
    if (!complete) return undefined;
    return { certificateChain: this.#pair?.cert, privateKey: this.#pair?.key, roots: this.#roots };
  }

  secureContext(): SecureContext | undefined {
    const material = this.material();
    if (material === undefined) return undefined;
    try {
      const { certificateChain: cert, privateKey: key, roots: ca } = material;
      return createSecureContext({ ...(cert && { cert }), ...(key && { key }), ...(ca && { ca }), minVersion: 'TLSv1.2' });
    } catch (error) {
      this.problem = reasonOf(error);
      return undefined;
    }
  }

  verifyPeer(hostname: string, certificate: PeerCertificate): Error | undefined {
    return checkServerIdentity(hostname, certificate);
  }

  onRotate(): () => void {
    return () => undefined;
  }

  #report(kept: boolean): void {
    if (this.problem === this.#reported) return;
    this.#reported = this.problem;
    if (this.problem === '') this.#log.info('TLS to the control plane: the certificate files are in order again');
    else this.#log.warn(`TLS to the control plane: ${this.problem}`, { kept });
  }
}

function readPair(certificateFile: string, privateKeyFile: string | undefined): Pair {
  const cert = readFileSync(certificateFile);
  const key = readFileSync(privateKeyFile ?? certificateFile);
  const leaf = parsed(() => new X509Certificate(cert), certificateFile, 'no PEM certificate');
  const privateKey = parsed(() => createPrivateKey(key), privateKeyFile ?? certificateFile, 'no PEM private key');
  // A rotation that is caught half-way.
  if (!leaf.checkPrivateKey(privateKey)) throw new Error(`${certificateFile} and ${privateKeyFile ?? ''} do not belong together`);
  return { cert, key };
}

function readRoots(file: string): Buffer {
  const roots = readFileSync(file);
  parsed(() => new X509Certificate(roots), file, 'no PEM certificate');
  return roots;
}

function parsed<T>(parse: () => T, file: string, reason: string): T {
  try {
    return parse();
  } catch (error) {
    throw new Error(`${file} holds ${reason} that can be read`, { cause: error });
  }
}

function attempt<T>(read: () => T, problems: string[]): T | undefined {
  try {
    return read();
  } catch (error) {
    problems.push(reasonOf(error));
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
