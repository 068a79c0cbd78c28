/** The last-good file: what is kept, when it is served from, and what makes it unusable. Real files, simulated time. */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { silentLogger } from '../../../src/core/log.ts';
import { FakeClock, settle } from '../../../src/testing/fake-clock.ts';
import { LastGoodFile } from '../../../src/xds/last-good.ts';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import { FILTERS } from '../../../src/filters/registry.ts';
import { jsonToAny } from '../../../src/proto/any.ts';
import { RESOURCE_TYPES } from '../../../src/xds/resource-types.ts';
import { SERVER, bootstrap, resource } from './fake-control-plane.ts';
import { RecordingLogger, setup } from './setup.ts';

const A = { kind: 'listener', name: 'a' } as const;
const C = { kind: 'cluster', name: 'c' } as const;
const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const HTTP = {
  '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
  route_config: { name: 'r', virtual_hosts: [] },
  http_filters: [{ name: 'router', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' } }],
};

function place(): string {
  const folder = mkdtempSync(join(tmpdir(), 'last-good-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'mesh.last-good');
}

/** Runs a client that gets the given resources, closes it, and leaves the file. */
async function saved(
  path: string,
  listeners: Readonly<Record<string, string>>,
  clusters: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { client, transport } = setup({ lastGood: path });
  client.want([
    ...Object.keys(listeners).map((name) => ({ kind: 'listener', name }) as const),
    ...Object.keys(clusters).map((name) => ({ kind: 'cluster', name }) as const),
  ]);
  const stream = transport.stream.connect();
  const made = (kind: 'listener' | 'cluster', all: Readonly<Record<string, string>>) =>
    Object.entries(all).map(([name, text]) => resource(kind, name, text));
  stream.respond('listener', '1', 'n1', made('listener', listeners));
  if (Object.keys(clusters).length > 0) stream.respond('cluster', '1', 'n2', made('cluster', clusters));
  await client.close();
}

function restart(path: string, change: Parameters<typeof setup>[0] = {}) {
  const log = new RecordingLogger();
  return { ...setup({ lastGood: path, log, ...change }), log };
}

describe('what is kept', () => {
  test('a header with version and checksum, a line for each resource; only this user may read it; no half-written file is left', async () => {
    const path = place();
    await saved(path, { a: 'A' }, { c: 'C' });
    const [header = '', ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(JSON.parse(header)).toMatchObject({
      format: 'inmesh last-good configuration',
      version: 1,
      resources: 2,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(lines.map((line) => (JSON.parse(line) as string[]).slice(0, 3))).toEqual([
      ['listener', 'a', '1'],
      ['cluster', 'c', '1'],
    ]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(path, '..'))).toEqual(['mesh.last-good']);
  });

  test('secrets and whatever holds a private key are left out', async () => {
    const path = place();
    // As JSON has bytes, from each of the three places of base64.
    const encoded = ['', ' ', '  '].map((before) => Buffer.from(`${before}-----BEGIN EC PRIVATE KEY-----`).toString('base64'));
    const [x = '', y = '', z = ''] = encoded;
    await saved(path, { a: 'A', k: '-----BEGIN EC PRIVATE KEY-----', x, y, z });
    const text = readFileSync(path, 'utf8');
    expect(text).not.toContain(Buffer.from('PRIVATE KEY').toString('base64').slice(0, 12));
    expect(text.match(/"listener"/g)).toHaveLength(1);
  });

  test('session ticket keys, which no mark in the bytes tells, are neither kept nor shown (CSDS)', async () => {
    const path = place();
    const secret = 'ticket-key-of-80-bytes';
    const tls = {
      '@type': `${TLS}.DownstreamTlsContext`,
      common_tls_context: { tls_certificate_provider_instance: { instance_name: 'p' } },
    };
    const made = (name: string, more: object) =>
      jsonToAny({
        '@type': TYPE_URLS.listener,
        name,
        address: { socket_address: { address: '127.0.0.1', port_value: 1 } },
        filter_chains: [
          {
            filters: [{ name: 'http', typed_config: HTTP }],
            transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: { ...tls, ...more } },
          },
        ],
      });
    const keys = { session_ticket_keys: { keys: [{ inline_string: secret }] } };
    const certificateProviders = { p: { plugin: 'file_watcher', certificateFile: '/c', privateKeyFile: '/k' } as never };
    const { client, transport } = setup({
      lastGood: path,
      types: RESOURCE_TYPES,
      decode: { filters: FILTERS, lbPolicies: [] },
      bootstrap: bootstrap({ certificateProviders, staticResources: [made('fixed', keys)] }),
    });
    client.want([A, { kind: 'listener', name: 'b' }]);
    transport.stream.connect().respond('listener', '1', 'n', [made('a', keys), made('b', {})]);
    expect(['fixed', 'a', 'b'].map((name) => client.get('listener', name).status)).toEqual(['present', 'present', 'present']);
    const shown = [...client.status().resources()].map(({ name, raw }) => [name, raw !== undefined]);
    expect(shown).toEqual([
      ['fixed', false],
      ['a', false],
      ['b', true],
    ]);
    await client.close();
    const [, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as string[])[1])).toEqual(['b']);
  });

  test('written one second after a change; nothing without the option', async () => {
    const path = place();
    const { client, clock, transport } = setup({ lastGood: path });
    client.want([A]);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    await clock.advance(999);
    expect(existsSync(path)).toBe(false);
    await client.close();
    expect(existsSync(path)).toBe(true);
    const other = setup();
    other.client.want([A]);
    other.transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    await other.clock.advance(5000);
    expect(other.client.describe().lastGood).toBeUndefined();
  });

  test('a file that cannot be written is a warning, once, and no more', async () => {
    const log = new RecordingLogger();
    const { client, transport } = setup({ lastGood: '/nowhere/at/all', log });
    client.want([A]);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    await client.close();
    expect(log.lines.filter((line) => line.includes('cannot be written'))).toHaveLength(1);
  });
});

describe('when it is served from', () => {
  test('at once when the control plane refuses; it says so, and stops when the control plane answers', async () => {
    const path = place();
    await saved(path, { a: 'A' }, { c: 'C' });
    const { client, transport, clock, log } = restart(path);
    client.want([A, C]);
    expect(client.get('listener', 'a').status).toBe('waiting');
    transport.stream.end(14, 'refused');
    expect(client.get('listener', 'a')).toMatchObject({ status: 'present', value: 'A' });
    expect(client.get('cluster', 'c')).toMatchObject({ status: 'present', value: 'C' });
    expect(client.describe().lastGood).toMatchObject({ path, inUse: true });
    expect(client.describe().resources[0]).toMatchObject({ status: 'REQUESTED', error: expect.stringContaining('last-good file') });
    expect(log.lines.find((line) => line.includes('serving from the last-good file'))).toContain('warn');
    await clock.advance(1000);
    transport.stream.connect().respond('listener', '2', 'n', [resource('listener', 'a', 'A2')]);
    expect(client.get('listener', 'a')).toMatchObject({ value: 'A2' });
    expect(client.get('cluster', 'c')).toMatchObject({ value: 'C' });
    expect(client.describe().lastGood).toMatchObject({ inUse: false });
  });

  test('a transport that refuses at once, while what is restored leads to more names: one stream at a time, and none is left', async () => {
    const path = place();
    await saved(path, { a: 'A' }, { c: 'C' });
    const { client, transport, clock } = restart(path);
    client.onChange(() => client.want([A, C]));
    transport.refuse = { code: 14, details: 'refused' };
    client.want([A]);
    expect(client.get('cluster', 'c')).toMatchObject({ value: 'C' });
    expect(transport.streams).toHaveLength(1);
    transport.refuse = undefined;
    await clock.advance(5000);
    expect(transport.streams).toHaveLength(2);
    expect(transport.stream.take()).toEqual([
      { type: 'listener', names: ['a'], node: 'n1' },
      { type: 'cluster', names: ['c'] },
    ]);
    await client.close();
    expect(transport.streams.map(({ ended }) => ended)).toEqual([true, true]);
  });

  test('no version from the file is sent: the server must send everything', async () => {
    const path = place();
    await saved(path, { a: 'A' });
    const { client, transport, clock } = restart(path);
    client.want([A]);
    transport.stream.end(14, 'refused');
    await clock.advance(1000);
    expect(transport.stream.take()).toEqual([{ type: 'listener', names: ['a'], node: 'n1' }]);
  });

  test('after half a second of silence', async () => {
    const path = place();
    await saved(path, { a: 'A' });
    const { client, transport, clock } = restart(path);
    client.want([A]);
    transport.stream.connect();
    await clock.advance(499);
    expect(client.get('listener', 'a').status).toBe('waiting');
    await clock.advance(1);
    expect(client.get('listener', 'a')).toMatchObject({ value: 'A' });
  });

  test('names that are wanted later are found, too; others wait', async () => {
    const path = place();
    await saved(path, { a: 'A' }, { c: 'C' });
    const { client, transport } = restart(path);
    client.want([A]);
    transport.stream.end(14, 'refused');
    client.want([A, C, { kind: 'cluster', name: 'unknown' }]);
    expect(client.get('cluster', 'c')).toMatchObject({ value: 'C' });
    expect(client.get('cluster', 'unknown').status).toBe('waiting');
  });

  test('never after the control plane has answered', async () => {
    const path = place();
    await saved(path, { a: 'A' }, { c: 'C' });
    const { client, transport, clock } = restart(path);
    client.want([A, C]);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A1')]);
    transport.stream.end(14, '');
    await clock.advance(1000);
    transport.stream.end(14, 'refused');
    await clock.advance(2000);
    expect(client.get('cluster', 'c').status).toBe('waiting');
  });

  test('what the control plane does not have any more goes when its time to answer is over', async () => {
    const path = place();
    await saved(path, { a: 'A', gone: 'G' });
    const { client, transport, clock } = restart(path);
    client.want([A, { kind: 'listener', name: 'gone' }]);
    transport.stream.end(14, 'refused');
    await clock.advance(1000);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    expect(client.get('listener', 'gone')).toMatchObject({ value: 'G' });
    await clock.advance(15_000);
    expect(client.get('listener', 'gone').status).toBe('failed');
    expect(client.get('listener', 'a')).toMatchObject({ value: 'A' });
  });

  test('the sidecar view: listeners and clusters of the file are listed, and go with the real list', async () => {
    const path = place();
    await saved(path, { a: 'A', b: 'B' });
    const { client, transport, clock } = restart(path, { wildcard: true });
    transport.stream.end(14, 'refused');
    await settle();
    expect(client.listeners()).toEqual(['a', 'b']);
    await clock.advance(1000);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'b', 'B')]);
    expect(client.listeners()).toEqual(['b']);
  });

  test('another list of servers is another identity: the file is not used', async () => {
    const path = place();
    await saved(path, { a: 'A' });
    const { client, transport, transports } = restart(path, { bootstrap: bootstrap({ servers: [SERVER, { ...SERVER, uri: 'cp:2' }] }) });
    client.want([A]);
    transport.stream.end(14, 'refused');
    await settle();
    // Another list of servers is another identity: the file is not used.
    expect(client.get('listener', 'a').status).toBe('waiting');
    expect(transports.get('cp:2')?.streams).toHaveLength(1);
  });
});

describe('how it is written', () => {
  /** Looking at the time takes a millisecond. */
  function writing(resources: readonly string[]) {
    const path = place();
    const clock = new FakeClock();
    let spent = 0;
    const now = clock.now.bind(clock);
    clock.now = () => now() + spent++;
    const texts = new Map(resources.map((name) => [name, name]));
    let reads = 0;
    const file = new LastGoodFile({
      path,
      identity: 'i',
      types: [],
      context: { filters: [], lbPolicies: [], certificateProviders: new Set() },
      clock,
      log: silentLogger,
      *current() {
        reads++;
        for (const [name, kept] of texts) yield { kind: 'cluster', name, version: '1', kept, unsupported: undefined };
      },
    });
    const written = (): unknown => {
      const [header = '', ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n');
      expect(JSON.parse(header)).toMatchObject({ resources: lines.length });
      return lines.map((line) => Buffer.from((JSON.parse(line) as string[])[3] ?? '', 'base64').toString());
    };
    return { clock, file, texts, written, reads: () => reads };
  }

  test('in slices, so that calls go on meanwhile, and as everything was at one moment', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `c${index}`);
    const { clock, file, texts, written } = writing(names);
    file.onAlarm();
    await settle();
    expect(clock.pending, 'the next slice').toBe(1);
    texts.set('c29', 'newer');
    let slices = 1;
    const set = clock.set.bind(clock);
    clock.set = (alarm, delayMs) => {
      slices++;
      return set(alarm, delayMs);
    };
    await clock.advance(0);
    expect(slices).toBeGreaterThanOrEqual(4);
    await file.close();
    expect(written()).toEqual(names);
  });

  test('however often something changes while it is written: once more', async () => {
    const { file, texts, written, reads } = writing(['c']);
    for (let change = 0; change < 5; change++) {
      texts.set('c', `${change}`);
      file.onAlarm();
    }
    await file.close();
    expect([reads(), written()]).toEqual([2, ['4']]);
  });
});

describe('what makes it unusable', () => {
  test.each([
    ['a byte changed', (text: string) => text.replace('"listener"', '"lIstener"'), 'its checksum is wrong'],
    ['cut off', (text: string) => text.slice(0, -10), 'its checksum is wrong'],
    ['another format version', (text: string) => text.replace('"version":1', '"version":99'), 'format version 99'],
    ['something else', () => 'hello\nworld\n', 'not a header'],
    ['other JSON', () => '{}\n', 'another kind of file'],
    ['JSON that is no object', () => 'null\n', 'another kind of file'],
    ['another node', (text: string) => text.replace(String.raw`[\"n1\"`, String.raw`[\"n2\"`), 'another node or control plane'],
    ['empty', () => '', 'not a header'],
  ])('%s: reported, not used, and replaced by the next good configuration', async (_title, change, reason) => {
    const path = place();
    await saved(path, { a: 'A' });
    writeFileSync(path, change(readFileSync(path, 'utf8')));
    const { client, transport, clock, log } = restart(path);
    expect(log.lines.join()).toContain(reason);
    client.want([A]);
    transport.stream.end(14, 'refused');
    expect(client.get('listener', 'a').status).toBe('waiting');
    await clock.advance(1000);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    await client.close();
    expect(restart(path).client.describe().lastGood?.savedAt).toBeGreaterThan(0);
  });

  test('a resource that this version rejects is left out', async () => {
    const path = place();
    await saved(path, { a: 'A' });
    const { client, transport, types } = restart(path);
    types.listener.decode = () => ({ ok: false, name: 'a', errors: [] });
    client.want([A]);
    transport.stream.end(14, 'refused');
    expect(client.get('listener', 'a').status).toBe('waiting');
  });

  test('no file is no problem', async () => {
    const { client, transport, log } = restart(place());
    client.want([A]);
    transport.stream.end(14, 'refused');
    expect(log.lines.filter((line) => line.includes('last-good'))).toEqual([]);
    expect(client.describe().lastGood).toMatchObject({ savedAt: undefined, inUse: false });
  });
});
