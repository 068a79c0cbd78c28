/** The file_watcher provider: grpc.md §2.3, Envoy T-7. Simulated time for the interval; real file events where the watch itself is meant. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { FileWatcherConfig } from '../../../src/config/bootstrap.ts';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import type { IssuedCertificate } from '../../../src/control-plane/ca/ca.ts';
import type { Clock } from '../../../src/core/clock.ts';
import type { Logger } from '../../../src/core/log.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { RealClock } from '../../../src/core/real-clock.ts';
import { FileWatcher } from '../../../src/security/file-watcher.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';

const REFRESH_MS = 600_000;

function folder(): string {
  const directory = mkdtempSync(join(tmpdir(), 'inmesh-watch-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function write(directory: string, issued: IssuedCertificate, roots?: string): void {
  writeFileSync(join(directory, 'cert.pem'), issued.certificateChainPem);
  writeFileSync(join(directory, 'key.pem'), issued.privateKeyPem);
  if (roots !== undefined) writeFileSync(join(directory, 'ca.pem'), roots);
}

function configOf(directory: string): FileWatcherConfig {
  const file = (name: string): string => join(directory, name);
  return {
    certificateFile: file('cert.pem'),
    privateKeyFile: file('key.pem'),
    caCertificateFile: file('ca.pem'),
    refreshIntervalMs: REFRESH_MS,
  };
}

function watcherOf(config: FileWatcherConfig, clock: Clock, log: Logger = silentLogger): FileWatcher {
  const watcher = new FileWatcher(config, { clock, log, name: 'certificate provider "default"' });
  onTestFinished(() => {
    watcher.close();
    if (clock instanceof FakeClock) expect(clock.pending).toBe(0);
  });
  return watcher;
}

const changed = (watcher: FileWatcher): Promise<void> => new Promise((resolve) => void watcher.identity.onChange(resolve));
const textOf = (buffer: Buffer | undefined): string | undefined => buffer?.toString();

describe('FileWatcher', () => {
  const clock = new FakeClock();
  const ca = createTestCa({ trustDomain: 'td', clock });
  const first = ca.issue({ spiffeId: 'spiffe://td/a' });
  const second = ca.issue({ spiffeId: 'spiffe://td/a' });

  it('reads at once when the files are there', () => {
    const directory = folder();
    write(directory, first, ca.certificatePem);
    const watcher = watcherOf(configOf(directory), new FakeClock());
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(first.certificateChainPem);
    expect(textOf(watcher.identity.value?.privateKey)).toBe(first.privateKeyPem);
    expect(textOf(watcher.roots.value?.pem)).toBe(ca.certificatePem);
    expect([watcher.identity.problem, watcher.roots.problem]).toEqual(['', '']);
  });

  it('waits for files that are not there yet, telling what it misses, and retries every second', async () => {
    const clock = new FakeClock();
    const directory = join(folder(), 'later');
    const watcher = watcherOf(configOf(directory), clock);
    expect(watcher.identity.value).toBeUndefined();
    expect(watcher.identity.problem).toMatch(/ENOENT.*cert\.pem/);
    expect(watcher.roots.problem).toMatch(/ENOENT.*ca\.pem/);
    mkdirSync(directory);
    write(directory, first, ca.certificatePem);
    await clock.advance(999);
    expect(watcher.identity.value).toBeUndefined();
    await clock.advance(1);
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(first.certificateChainPem);
    expect(watcher.identity.problem).toBe('');
  });

  it('reads again at the interval, and says nothing when nothing changed', async () => {
    const clock = new FakeClock();
    const directory = folder();
    write(directory, first, ca.certificatePem);
    const watcher = watcherOf(configOf(directory), clock);
    // Only the interval is meant here.
    const generation = watcher.identity.generation;
    await clock.advance(REFRESH_MS);
    expect(watcher.identity.generation).toBe(generation);
    write(directory, second);
    await clock.advance(REFRESH_MS);
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(second.certificateChainPem);
    expect(watcher.identity.generation).toBe(generation + 1);
    expect(watcher.roots.generation).toBe(1);
  });

  it('never takes a certificate with the key of another: keeps the old pair until both have changed', async () => {
    const clock = new FakeClock();
    const directory = folder();
    write(directory, first, ca.certificatePem);
    const watcher = watcherOf(configOf(directory), clock);
    writeFileSync(join(directory, 'cert.pem'), second.certificateChainPem);
    await clock.advance(REFRESH_MS);
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(first.certificateChainPem);
    expect(textOf(watcher.identity.value?.privateKey)).toBe(first.privateKeyPem);
    expect(watcher.identity.problem).toMatch(/do not belong together/);
    writeFileSync(join(directory, 'key.pem'), second.privateKeyPem);
    await clock.advance(1000);
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(second.certificateChainPem);
    expect(watcher.identity.problem).toBe('');
  });

  it.each<[string, (directory: string) => void, RegExp]>([
    ['a deleted certificate', (d) => rmSync(join(d, 'cert.pem')), /ENOENT/],
    ['a deleted key', (d) => rmSync(join(d, 'key.pem')), /ENOENT/],
    ['an empty certificate', (d) => writeFileSync(join(d, 'cert.pem'), ''), /holds no PEM certificate/],
    [
      'a broken certificate',
      (d) => writeFileSync(join(d, 'cert.pem'), first.certificateChainPem.replace('MII', 'AAA')),
      /cannot be read|no PEM|belong/,
    ],
    ['a broken key', (d) => writeFileSync(join(d, 'key.pem'), 'x'), /private key cannot be read/],
    ['a directory in place of the key', (d) => (rmSync(join(d, 'key.pem')), mkdirSync(join(d, 'key.pem'))), /EISDIR/],
    ['an expired certificate', (d) => write(d, ca.issue({ spiffeId: 'spiffe://td/a', validForMs: -1 })), /has expired/],
  ])('keeps the last good pair over %s, and says so once', async (_what, spoil, problem) => {
    const clock = new FakeClock();
    const directory = folder();
    write(directory, first, ca.certificatePem);
    const lines: string[] = [];
    const watcher = watcherOf(configOf(directory), clock, {
      ...silentLogger,
      warn: (line) => lines.push(line),
      info: (line) => lines.push(line),
    });
    spoil(directory);
    await clock.advance(REFRESH_MS + 10_000);
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(first.certificateChainPem);
    expect(watcher.identity.generation).toBe(1);
    expect(watcher.identity.problem).toMatch(problem);
    expect(lines).toEqual([expect.stringMatching(problem)]);
    rmSync(join(directory, 'key.pem'), { recursive: true, force: true });
    write(directory, second);
    await clock.advance(1000);
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(second.certificateChainPem);
    expect(lines[1]).toMatch(/in order again/);
  });

  it('keeps good trust anchors over empty, broken and expired ones', async () => {
    const clock = new FakeClock();
    const directory = folder();
    write(directory, first, ca.certificatePem);
    const watcher = watcherOf(configOf(directory), clock);
    const expired = createTestCa({ trustDomain: 'td', clock, validForMs: -1 }).certificatePem;
    for (const [text, problem] of [
      ['', /no PEM certificate/],
      ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', /cannot be read/],
      [expired, /have expired/],
    ] as const) {
      writeFileSync(join(directory, 'ca.pem'), text);
      await clock.advance(REFRESH_MS);
      expect(watcher.roots.problem).toMatch(problem);
      expect(textOf(watcher.roots.value?.pem)).toBe(ca.certificatePem);
    }
  });

  it('takes what was given alone: roots without identity, identity without roots', () => {
    const directory = folder();
    write(directory, first, ca.certificatePem);
    const { certificateFile, privateKeyFile, caCertificateFile } = configOf(directory);
    const none = { certificateFile: undefined, privateKeyFile: undefined, caCertificateFile: undefined, refreshIntervalMs: REFRESH_MS };
    const roots = watcherOf({ ...none, caCertificateFile }, new FakeClock());
    expect([roots.roots.value !== undefined, roots.identity.value, roots.identity.problem]).toEqual([
      true,
      undefined,
      'certificate provider "default" has no certificate_file',
    ]);
    const identity = watcherOf({ ...none, certificateFile, privateKeyFile }, new FakeClock());
    expect([identity.identity.value !== undefined, identity.roots.value, identity.roots.problem]).toEqual([
      true,
      undefined,
      'certificate provider "default" has no ca_certificate_file',
    ]);
    expect(watcherOf({ ...none, certificateFile }, new FakeClock()).identity.problem).toMatch(/private_key_file/);
  });

  it('does nothing more once it is closed', async () => {
    const clock = new FakeClock();
    const directory = folder();
    write(directory, first, ca.certificatePem);
    const watcher = watcherOf(configOf(directory), clock);
    watcher.close();
    expect(clock.pending).toBe(0);
    write(directory, second);
    await clock.advance(2 * REFRESH_MS);
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(first.certificateChainPem);
  });
});

describe('the watch on real files', () => {
  const clock = new RealClock();
  const ca = createTestCa({ trustDomain: 'td', clock });
  const first = ca.issue({ spiffeId: 'spiffe://td/a' });
  const second = ca.issue({ spiffeId: 'spiffe://td/a' });
  const third = ca.issue({ spiffeId: 'spiffe://td/a' });

  it('sees files that are renamed into place', async () => {
    const directory = folder();
    write(directory, first, ca.certificatePem);
    const watcher = watcherOf(configOf(directory), clock);
    const seen = changed(watcher);
    for (const [name, text] of [
      ['cert.pem', second.certificateChainPem],
      ['key.pem', second.privateKeyPem],
    ] as const) {
      writeFileSync(join(directory, `${name}.new`), text);
      renameSync(join(directory, `${name}.new`), join(directory, name));
    }
    await seen;
    expect(textOf(watcher.identity.value?.privateKey)).toBe(second.privateKeyPem);
  });

  it('sees the swap of ..data in a Kubernetes volume, again and again', async () => {
    const directory = folder();
    const swap = (name: string, issued: IssuedCertificate): void => {
      mkdirSync(join(directory, name));
      write(join(directory, name), issued, ca.certificatePem);
      symlinkSync(name, join(directory, '..data_tmp'));
      renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
    };
    swap('..2026_1', first);
    for (const name of ['cert.pem', 'key.pem', 'ca.pem']) symlinkSync(join('..data', name), join(directory, name));
    const watcher = watcherOf(configOf(directory), clock);
    for (const [name, issued] of [
      ['..2026_2', second],
      ['..2026_3', third],
    ] as const) {
      const seen = changed(watcher);
      swap(name, issued);
      await seen;
      expect(textOf(watcher.identity.value?.certificateChain)).toBe(issued.certificateChainPem);
      expect(textOf(watcher.identity.value?.privateKey)).toBe(issued.privateKeyPem);
    }
  });

  it('sees the swap of a whole directory behind a link, and what happens in the new one', async () => {
    const directory = folder();
    for (const [name, issued] of [
      ['one', first],
      ['two', second],
    ] as const) {
      mkdirSync(join(directory, name));
      write(join(directory, name), issued, ca.certificatePem);
    }
    symlinkSync('one', join(directory, 'current'));
    const watcher = watcherOf(configOf(join(directory, 'current')), clock);
    let seen = changed(watcher);
    symlinkSync('two', join(directory, 'next'));
    renameSync(join(directory, 'next'), join(directory, 'current'));
    await seen;
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(second.certificateChainPem);
    seen = changed(watcher);
    write(join(directory, 'two'), third);
    await seen;
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(third.certificateChainPem);
  });

  it('survives the loss of its directory, and finds it when it is back', async () => {
    const directory = join(folder(), 'certs');
    mkdirSync(directory);
    write(directory, first, ca.certificatePem);
    const watcher = watcherOf(configOf(directory), clock);
    const seen = changed(watcher);
    rmSync(directory, { recursive: true });
    mkdirSync(directory);
    write(directory, second, ca.certificatePem);
    await seen;
    expect(textOf(watcher.identity.value?.certificateChain)).toBe(second.certificateChainPem);
  });
});
