/** The command line: help, version, exit codes, slips of the finger. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Terminal } from '../../../src/cli/command.ts';
import { COMMANDS, main } from '../../../src/cli/main.ts';
import { describeLoad, describeNack, describeUpdate } from '../../../src/cli/serve-text.ts';
import { editDistance, nearest } from '../../../src/sources/mesh-yaml/nearest.ts';

async function run(...args: readonly string[]): Promise<{ code: number; out: string; error: string }> {
  const result = { code: -1, out: '', error: '' };
  const terminal: Terminal = {
    out: (text) => void (result.out += text),
    error: (text) => void (result.error += text),
    untilInterrupted: () => Promise.resolve(),
  };
  result.code = await main(args, terminal);
  return result;
}

describe('inmesh', () => {
  test.each([[['--help']], [['-h']], [['help']]])('%s shows every command', async (args) => {
    const { code, out, error } = await run(...args);
    expect([code, error]).toEqual([0, '']);
    const width = Math.max(...COMMANDS.map(({ name }) => name.length)) + 4;
    for (const { name, summary } of COMMANDS) expect(out).toContain(`  ${name}`.padEnd(width) + summary);
    expect(out).toMatch(/Example:\n {2}npx inmesh/);
  });

  test('nothing: the help, but exit code 2', async () => {
    expect(await run()).toMatchObject({ code: 2, out: expect.stringContaining('Usage: inmesh COMMAND') as string });
  });

  test('--version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string };
    expect(await run('--version')).toEqual({ code: 0, out: `${version}\n`, error: '' });
  });

  test.each(COMMANDS.map((command) => [command.name, command] as const))(
    '%s --help has usage, options and an example',
    async (name, command) => {
      for (const args of [
        [...name.split(' '), '--help'],
        [...name.split(' '), 'x', '-h'],
        ['help', ...name.split(' ')],
      ]) {
        const { code, out } = await run(...args);
        expect(code).toBe(0);
        expect(out).toContain(`Usage: inmesh ${name}`);
        expect(out).not.toMatch(/ $/m);
        expect(out).toContain(`Example:\n  ${command.example.split('\n')[0]}`);
        for (const [option] of command.options) expect(out).toContain(`  ${option} `);
      }
    },
  );

  test.each([
    ['sevre', 2, /unknown command "sevre"\. Did you mean "serve"\?/],
    ['zzzzzzzz', 2, /unknown command "zzzzzzzz"\. Known: demo, serve, xds check, --help, --version\./],
    ['--verison', 2, /unknown option "--verison"\. Did you mean "--version"\?/],
  ])('%s', async (arg, code, message) => {
    const result = await run(arg);
    expect(result.code).toBe(code);
    expect(result.error).toMatch(message);
  });

  test.each([
    [['serve', '--prot', '1'], /^inmesh serve: Unknown option '--prot'\nSee inmesh serve --help\.\n$/],
    [['serve', 'a.yaml', 'b.yaml'], /one file is served, not 2/],
    [['serve', 'a.yaml', '--port', '70000'], /--port 70000 is not a port/],
    [['serve', 'a.yaml', '--port', 'x'], /--port x is not a port/],
    [['serve', '--tls', 'yes'], /--tls yes is not one of server, mutual/],
    [['serve', '--certificates', 'none'], /--certificates none is not one of provider, inline, sds/],
    [['serve', '--view', 'web'], /--view web is not NODE=FILE/],
    [['serve', '--lrs-interval', '5'], /--lrs-interval 5 is not a duration/],
    [['serve', '--agent'], /--agent needs --dialect istio/],
    [['serve', '--dialect', 'kuma'], /--dialect kuma is not one of inmesh, istio/],
    [['serve', '--token-header', 'x-token'], /--token-header needs --token/],
  ])('%j is a wrong usage', async (args, message) => {
    const result = await run(...args);
    expect(result.code).toBe(2);
    expect(result.error).toMatch(message);
  });
});

describe('what serve says', () => {
  test('of a reload', () => {
    const changed = [
      { kind: 'cluster', name: 'a' },
      { kind: 'cluster', name: 'b' },
      { kind: 'routes', name: 'a' },
    ] as const;
    expect(describeUpdate('mesh.yaml', { ok: true, changed, ms: 3.14 })).toBe(
      'reloaded mesh.yaml in 3.1 ms: 1 route configuration, 2 clusters\n',
    );
    expect(describeUpdate('mesh.yaml', { ok: true, changed: [], ms: 1 })).toBe('reloaded mesh.yaml in 1.0 ms: nothing\n');
    expect(describeUpdate('s.yaml', { ok: true, changed: [], others: 2, ms: 1 })).toBe(
      'reloaded s.yaml in 1.0 ms: 2 resources of other types\n',
    );
  });

  test('of a load report', () => {
    const locality = { region: 'r', zone: 'z', subZone: '', priority: 0, issued: 5, successful: 3, errors: 1, inProgress: 1 };
    const localities = [
      { ...locality, metrics: [], endpoints: [] },
      { ...locality, metrics: [], endpoints: [] },
    ];
    const cluster = { cluster: 'a', service: '', localities, dropped: 2, droppedBy: {}, intervalMs: 1500 };
    expect(describeLoad({ nodeId: 'web', at: 0, clusters: [cluster, { ...cluster, cluster: 'b', localities: [], dropped: 0 }] })).toBe(
      'load from web: a 10 calls, 6 ok, 2 failed, 2 in flight, 2 dropped in 1.5 s; b 0 calls, 0 ok, 0 failed, 0 in flight in 1.5 s\n',
    );
    expect(describeLoad({ nodeId: 'web', at: 0, clusters: [] })).toBe('load from web: nothing\n');
  });

  test('of a refusal', () => {
    const nack = {
      nodeId: 'web',
      typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
      version: '3',
      message: 'cluster "a": no',
    };
    expect(describeNack(nack)).toBe('NACK from web: Cluster version 3 refused: cluster "a": no\n');
    expect(describeNack({ ...nack, nodeId: '' })).toMatch(/^NACK from a client without a node id/);
  });
});

describe('nearest', () => {
  test.each([
    ['', '', 0],
    ['a', '', 1],
    ['kitten', 'sitting', 3],
    ['serve', 'sevre', 1],
    ['ca', 'abc', 3],
    ['hosts', 'hots', 1],
  ])('distance of %s and %s is %d', (a, b, distance) => {
    expect([editDistance(a, b), editDistance(b, a)]).toEqual([distance, distance]);
  });

  test('only what is near enough; the nearest of several', () => {
    expect(nearest('timeuot', ['timeout', 'retries'])).toBe('timeout');
    expect(nearest('to', ['split'])).toBeUndefined();
    expect(nearest('routs', ['routes', 'router'])).toBe('routes');
    expect(nearest('LB', ['lb'])).toBe('lb');
  });
});
