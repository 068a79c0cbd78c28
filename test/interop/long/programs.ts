/**
 * Builds the real control planes of `npm run test:interop -- --long` from their Go modules: Consul and Envoy Gateway, each with a `go.mod` of
 * its own beside this file and a main package that is not ours. Each takes about seven minutes of two processors once.
 */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { attempt, hashOf, need, run, say, settle } from '../programs.ts';

const sources = (folder: string): string => fileURLToPath(new URL(folder, import.meta.url));

function built(folder: 'consul' | 'envoy-gateway', main: string): string {
  const directory = settle(folder, hashOf(sources(folder)), (scratch) => {
    need('Go', run('go', ['version'], sources(folder)));
    say(`building ${folder} (several minutes the first time)`);
    // A copy, since go writes what it resolved beside its go.mod.
    copyFileSync(join(sources(folder), 'go.mod'), join(scratch, 'go.mod'));
    const limits = { CGO_ENABLED: '0', GOMEMLIMIT: '6GiB' };
    need(
      `the module of ${folder}`,
      run('go', ['build', '-mod=mod', '-p=2', '-ldflags=-s -w', '-o', join(scratch, folder), main], scratch, limits),
    );
  });
  return join(directory, folder);
}

/** Undefined: not to be had on this machine. */
export const consulProgram = (): string | undefined =>
  attempt(
    'Consul',
    () => built('consul', 'github.com/hashicorp/consul'),
    (path) => run(path, ['version'], sources('.')),
  );

/** As above; it listens on all addresses, so it also needs a network namespace of its own. */
export const envoyGatewayProgram = (): string | undefined =>
  attempt(
    'Envoy Gateway',
    () => {
      need('a network namespace', run('unshare', ['-rn', 'ip', 'link', 'set', 'lo', 'up'], sources('.')));
      need('ending with its parent', run('setpriv', ['--pdeathsig', 'KILL', 'true'], sources('.')));
      return built('envoy-gateway', 'github.com/envoyproxy/gateway/cmd/envoy-gateway');
    },
    (path) => run(path, ['version'], sources('.')),
  );
