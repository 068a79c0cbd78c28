/** A watched `mesh.yaml` on a real file system: every way in which editors and Kubernetes save a file. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { RealClock } from '../../src/core/real-clock.ts';
import type { Logger } from '../../src/core/log.ts';
import { MeshYamlSource } from '../../src/sources/mesh-yaml-source.ts';

const text = (port: number): string => `version: 1\nservices: { a: { endpoints: ["127.0.0.1:${port}"] } }\n`;

class Watched {
  readonly folder: string;
  readonly file: string;
  readonly lines: string[] = [];
  readonly source: MeshYamlSource;
  #wake: (() => void) | undefined;

  constructor(prepare: (folder: string) => string) {
    this.folder = mkdtempSync(join(tmpdir(), 'inmesh-test-'));
    this.file = prepare(this.folder);
    const log = (line: string): void => {
      this.lines.push(line);
      this.#wake?.();
    };
    const logger: Logger = { debug: log, info: log, warn: log, error: log };
    this.source = MeshYamlSource.open(this.file, { clock: new RealClock(), log: logger });
    onTestFinished(async () => {
      await this.source.close();
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  async line(): Promise<string> {
    for (;;) {
      const line = this.lines.shift();
      if (line !== undefined) return line;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  get port(): number | undefined {
    const state = this.source.get('endpoints', 'a');
    return state.status === 'present' ? state.value.localities[0]?.endpoints[0]?.port : undefined;
  }
}

const plain = (folder: string): string => {
  const file = join(folder, 'mesh.yaml');
  writeFileSync(file, text(1));
  return file;
};

test('written in place', async () => {
  const watched = new Watched(plain);
  expect(watched.port).toBe(1);
  writeFileSync(watched.file, text(2));
  expect(await watched.line()).toMatch(/reloaded .* in [\d.]+ ms, changed: 1 endpoint list/);
  expect(watched.port).toBe(2);
});

test('replaced by rename', async () => {
  const watched = new Watched(plain);
  for (const port of [2, 3, 4]) {
    writeFileSync(join(watched.folder, 'mesh.yaml~'), text(port));
    renameSync(join(watched.folder, 'mesh.yaml~'), watched.file);
    await watched.line();
    expect(watched.port).toBe(port);
  }
});

test('as a Kubernetes ConfigMap: the link of the folder is swapped', async () => {
  const watched = new Watched((folder) => {
    mkdirSync(join(folder, '..v1'));
    writeFileSync(join(folder, '..v1', 'mesh.yaml'), text(1));
    symlinkSync('..v1', join(folder, '..data'));
    symlinkSync(join('..data', 'mesh.yaml'), join(folder, 'mesh.yaml'));
    return join(folder, 'mesh.yaml');
  });
  mkdirSync(join(watched.folder, '..v2'));
  writeFileSync(join(watched.folder, '..v2', 'mesh.yaml'), text(2));
  symlinkSync('..v2', join(watched.folder, '..tmp'));
  renameSync(join(watched.folder, '..tmp'), join(watched.folder, '..data'));
  await watched.line();
  expect(watched.port).toBe(2);
});

test('invalid, gone, and back: the last good one stays meanwhile', async () => {
  const watched = new Watched(plain);
  writeFileSync(watched.file, text(0));
  expect(await watched.line()).toMatch(/is invalid, the last good configuration stays:\n.*mesh\.yaml:2:30:/);
  expect(watched.port).toBe(1);
  unlinkSync(watched.file);
  expect(await watched.line()).toMatch(/cannot be read/);
  expect(watched.port).toBe(1);
  writeFileSync(watched.file, text(5));
  await watched.line();
  expect(watched.port).toBe(5);
});

test('other files of the folder, and saves of the same text, change nothing', async () => {
  const watched = new Watched(plain);
  writeFileSync(join(watched.folder, 'other'), 'x');
  writeFileSync(watched.file, text(1));
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(watched.lines).toEqual([]);
});
