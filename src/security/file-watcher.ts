/**
 * The `file_watcher` certificate provider (gRFC A29, grpc.md §2.3) and certificate files named by a resource: reads at once, then on
 * every move under the files and at an interval. A certificate and its key are taken together or not at all (Envoy T-7); what was read
 * last and was good is kept. Never throws: trouble is the `problem` of a secret, and one line in the log.
 */
import { readFileSync } from 'node:fs';
import type { FileWatcherConfig } from '../config/bootstrap.ts';
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Closable } from '../core/scope.ts';
import { DirectoryWatch } from './directory-watch.ts';
import { parseIdentity, parseTrustAnchors } from './material.ts';
import type { Identity, Parsed, TrustAnchors } from './material.ts';
import { Secret } from './secret-store.ts';

/** Events come in bursts (one per file written); they are read once the burst is over. */
const SETTLE_MS = 20;
/** How soon a refresh that went wrong is tried again, since the watch may have missed what mends it. */
const RETRY_MS = 1000;

export interface FileWatcherOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** For log lines, e.g. `certificate provider "default"`. */
  readonly name: string;
  /** More directories whose changes are a reason to read again. */
  readonly watchedDirectories?: readonly string[];
}

export class FileWatcher implements Closable, Alarm {
  /** Certificate with key; without a value for ever if no such files are configured. */
  readonly identity: Secret<Identity>;
  readonly roots: Secret<TrustAnchors>;
  readonly #config: FileWatcherConfig;
  readonly #options: FileWatcherOptions;
  readonly #directories: DirectoryWatch;
  #timer: Timer | undefined = undefined;
  #hinted = false;
  #closed = false;
  #reported = '';

  constructor(config: FileWatcherConfig, options: FileWatcherOptions) {
    this.#config = config;
    this.#options = options;
    this.identity = new Secret(config.certificateFile === undefined ? `${options.name} has no certificate_file` : 'not read yet');
    this.roots = new Secret(config.caCertificateFile === undefined ? `${options.name} has no ca_certificate_file` : 'not read yet');
    const files = [config.certificateFile, config.privateKeyFile, config.caCertificateFile].filter((path) => path !== undefined);
    this.#directories = new DirectoryWatch(files, options.watchedDirectories ?? [], () => this.#hint());
    this.#read();
  }

  onAlarm(): void {
    this.#timer = undefined;
    this.#hinted = false;
    this.#read();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#directories.close();
    if (this.#timer !== undefined) this.#options.clock.clear(this.#timer);
    this.#timer = undefined;
  }

  #hint(): void {
    if (this.#closed || this.#hinted) return;
    this.#hinted = true;
    this.#arm(SETTLE_MS);
  }

  #arm(delayMs: number): void {
    const { clock } = this.#options;
    if (this.#timer !== undefined) clock.clear(this.#timer);
    // In the background: rotation alone is no reason for a process to stay alive.
    this.#timer = clock.set(this, delayMs, true);
  }

  #read(): void {
    const { certificateFile, privateKeyFile, caCertificateFile, refreshIntervalMs } = this.#config;
    let healthy = false;
    try {
      const identity = certificateFile === undefined || this.#refreshIdentity(certificateFile, privateKeyFile);
      const roots = caCertificateFile === undefined || this.#refreshRoots(caCertificateFile);
      healthy = identity && roots;
      this.#report();
    } finally {
      // Whatever a listener did, watching goes on.
      if (!this.#closed) {
        this.#directories.refresh();
        // A hint during the reading has set its own, earlier timer.
        if (!this.#hinted) this.#arm(healthy ? refreshIntervalMs : Math.min(refreshIntervalMs, RETRY_MS));
      }
    }
  }

  #refreshIdentity(certificateFile: string, privateKeyFile: string | undefined): boolean {
    const chain = readFile(certificateFile);
    const key = privateKeyFile === undefined ? missing('no private_key_file is configured') : readFile(privateKeyFile);
    if (!chain.ok || !key.ok) {
      this.identity.offer(chain.ok ? (key as Parsed<never>) : chain);
      return false;
    }
    const { value } = this.identity;
    if (value !== undefined && value.certificateChain.equals(chain.value) && value.privateKey.equals(key.value)) {
      this.identity.confirm();
      return true;
    }
    const parsed = parseIdentity(chain.value, key.value);
    const now = this.#options.clock.wallTime();
    if (parsed.ok && parsed.value.notAfter <= now && value !== undefined && value.notAfter > now) {
      this.identity.offer(missing(`the certificate in ${certificateFile} has expired`));
      return false;
    }
    this.identity.offer(parsed.ok ? parsed : missing(`${certificateFile}: ${parsed.problem}`));
    return parsed.ok;
  }

  #refreshRoots(file: string): boolean {
    const read = readFile(file);
    if (!read.ok) {
      this.roots.offer(read);
      return false;
    }
    const { value } = this.roots;
    if (value !== undefined && value.pem.equals(read.value)) {
      this.roots.confirm();
      return true;
    }
    const parsed = parseTrustAnchors(read.value);
    const now = this.#options.clock.wallTime();
    if (parsed.ok && parsed.value.notAfter <= now && value !== undefined && value.notAfter > now) {
      this.roots.offer(missing(`all trust anchors in ${file} have expired`));
      return false;
    }
    this.roots.offer(parsed.ok ? parsed : missing(`${file}: ${parsed.problem}`));
    return parsed.ok;
  }

  #report(): void {
    const problems: string[] = [];
    if (this.#config.certificateFile !== undefined && this.identity.problem !== '') problems.push(this.identity.problem);
    if (this.#config.caCertificateFile !== undefined && this.roots.problem !== '') problems.push(this.roots.problem);
    const now = problems.join('; ');
    if (now === this.#reported) return;
    const { log, name } = this.#options;
    if (now === '') log.info(`${name}: certificates are in order again`);
    else log.warn(`${name}: ${now}`, { kept: this.identity.value !== undefined || this.roots.value !== undefined });
    this.#reported = now;
  }
}

function missing(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}

function readFile(path: string): Parsed<Buffer> {
  try {
    return { ok: true, value: readFileSync(path) };
  } catch (error) {
    return missing(error instanceof Error ? error.message : String(error));
  }
}
