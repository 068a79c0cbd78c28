/**
 * Workload certificates of the development control plane: issued by a test CA that lives as long as the process, written as `file_watcher`
 * files into a temporary folder that goes with it.
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import type { IssuedCertificate, TestCa } from './ca/ca.ts';
import { createTestCa } from './ca/ca.ts';
import type { InlineCertificates } from './encode/tls.ts';

export interface CertificateFiles {
  readonly certificateFile: string;
  readonly privateKeyFile: string;
  readonly caCertificateFile: string;
}

interface Issued {
  inline: InlineCertificates;
  /** Written when somebody wants files. */
  files: CertificateFiles | undefined;
}

export class Certificates {
  readonly trustDomain: string;
  readonly #clock: Clock;
  readonly #issued = new Map<string, Issued>();
  #ca: TestCa | undefined;
  #folder: string | undefined;
  #folders = 0;
  readonly #onExit = (): void => this.close();

  constructor(trustDomain: string, clock: Clock) {
    this.trustDomain = trustDomain;
    this.#clock = clock;
  }

  /** `web` is short for `spiffe://TRUST-DOMAIN/web`. */
  spiffeId(identity: string): string {
    return identity.startsWith('spiffe://') ? identity : `spiffe://${this.trustDomain}/${identity}`;
  }

  /** PEM of the trust anchor. */
  get rootsPem(): string {
    return this.#authority().certificatePem;
  }

  /** File with the trust anchor alone, for processes without an identity. */
  rootsFile(): string {
    return this.write('ca.pem', this.rootsPem);
  }

  /** Writes a text into the folder, only readable by this user; its path. */
  write(name: string, text: string): string {
    const path = join(this.#home(), name);
    replace(path, text);
    return path;
  }

  files(identity: string): CertificateFiles {
    const issued = this.#get(identity);
    if (issued.files === undefined) {
      const name = this.spiffeId(identity)
        .replace(/^spiffe:\/\//, '')
        .replace(/[^A-Za-z0-9.-]+/g, '_');
      const folder = join(this.#home(), `${this.#folders++}-${name}`);
      mkdirSync(folder, { mode: 0o700 });
      issued.files = {
        certificateFile: join(folder, 'cert.pem'),
        privateKeyFile: join(folder, 'key.pem'),
        caCertificateFile: join(folder, 'ca.pem'),
      };
      writeAll(issued.files, issued.inline);
    }
    return issued.files;
  }

  inline(identity: string): InlineCertificates {
    return this.#get(identity).inline;
  }

  /** A certificate for a server on these hosts: names and addresses. */
  server(hosts: readonly string[]): IssuedCertificate {
    const isAddress = (host: string): boolean => isIP(host) !== 0;
    return this.#authority().issue({
      dnsNames: hosts.filter((host) => !isAddress(host)),
      ipAddresses: hosts.filter(isAddress),
      commonName: 'inmesh control plane',
    });
  }

  /** Replaces an identity's certificate by a new one, in place. */
  rotate(identity: string): void {
    const id = this.spiffeId(identity);
    const issued = this.#get(id);
    issued.inline = this.#issue(id);
    if (issued.files !== undefined) writeAll(issued.files, issued.inline);
  }

  /** Removes the folder; synchronous, since it also runs at process exit. */
  close(): void {
    process.removeListener('exit', this.#onExit);
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
    this.#issued.clear();
  }

  #get(identity: string): Issued {
    const id = this.spiffeId(identity);
    let issued = this.#issued.get(id);
    if (issued === undefined) {
      issued = { inline: this.#issue(id), files: undefined };
      this.#issued.set(id, issued);
    }
    return issued;
  }

  #issue(id: string): InlineCertificates {
    const ca = this.#authority();
    return { ...ca.issue({ spiffeId: id }), rootsPem: ca.certificatePem };
  }

  #authority(): TestCa {
    this.#ca ??= createTestCa({ trustDomain: this.trustDomain, clock: this.#clock });
    return this.#ca;
  }

  #home(): string {
    if (this.#folder === undefined) {
      this.#folder = mkdtempSync(join(tmpdir(), 'inmesh-'));
      process.once('exit', this.#onExit);
    }
    return this.#folder;
  }
}

/** By rename, so that nobody reads half a file. The key first: a watcher that sees a new certificate finds its key. */
function writeAll(files: CertificateFiles, certificates: InlineCertificates): void {
  for (const [path, text] of [
    [files.privateKeyFile, certificates.privateKeyPem],
    [files.caCertificateFile, certificates.rootsPem],
    [files.certificateFile, certificates.certificateChainPem],
  ] as const) {
    replace(path, text);
  }
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
