/** Secret cells over SDS: what they follow, what they keep, and what takes a value away (Envoy X-93, T-1; gRFC A88). */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { ResourceState } from '../../../src/config/resource.ts';
import type { SecretConfig } from '../../../src/config/secret.ts';
import type { UpstreamTlsConfig } from '../../../src/config/tls.ts';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { RealClock } from '../../../src/core/real-clock.ts';
import { TlsContexts } from '../../../src/security/tls-context.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';

const clock = new RealClock();
const ca = createTestCa({ trustDomain: 'dev', clock });
const inline = (pem: string) => ({ kind: 'inline', pem }) as const;

function certificate(): SecretConfig {
  const { certificateChainPem, privateKeyPem } = ca.issue({ spiffeId: 'spiffe://dev/a' });
  const identity = { kind: 'pair', certificateChain: inline(certificateChainPem), privateKey: inline(privateKeyPem) } as const;
  return { kind: 'certificate', name: 'own', identity };
}

const trust = (change: Partial<Extract<SecretConfig, { kind: 'validation' }>> = {}): SecretConfig => ({
  kind: 'validation',
  name: 'trust',
  roots: inline(ca.certificatePem),
  sanMatchers: [],
  ...change,
});

const present = (value: SecretConfig): ResourceState<SecretConfig> => ({ status: 'present', value, version: '1' });

function made(states: Record<string, ResourceState<SecretConfig>>, roots: UpstreamTlsConfig['roots'] = { kind: 'sds', name: 'trust' }) {
  const fake = new FakeClock();
  const contexts = new TlsContexts({
    providers: {},
    clock: fake,
    log: silentLogger,
    secret: (name) => states[name] ?? { status: 'waiting' },
  });
  onTestFinished(() => contexts.close());
  const security = contexts.client({
    identity: { kind: 'sds', name: 'own' },
    roots,
    sanMatchers: [],
    alpn: [],
    minVersion: undefined,
    maxVersion: undefined,
    sni: '',
    autoHostSni: false,
    autoSniSanValidation: false,
  });
  return { contexts, security, states, fake };
}

test('no context until both secrets are there; the reason names the one that is missing', () => {
  const { contexts, security, states } = made({});
  expect(security.secureContext()).toBeUndefined();
  expect(security.problem).toBe('secret "own" is still awaited; secret "trust" is still awaited');
  states['own'] = present(certificate());
  contexts.refresh();
  expect(security.problem).toBe('secret "trust" is still awaited');
  states['trust'] = present(trust());
  contexts.refresh();
  expect(security.secureContext()).toBeDefined();
  expect(security.problem).toBe('');
});

test('a new value is a new context, and is told; the same one is not', () => {
  const { contexts, security, states } = made({ own: present(certificate()), trust: present(trust()) });
  const first = security.secureContext();
  let rotations = 0;
  security.onRotate(() => rotations++);
  contexts.refresh();
  expect([rotations, security.secureContext() === first]).toEqual([0, true]);
  states['own'] = present(certificate());
  contexts.refresh();
  expect([rotations, security.secureContext() === first]).toEqual([1, false]);
});

test('what the source says has failed is used no longer', () => {
  const { contexts, security, states } = made({ own: present(certificate()), trust: present(trust()) });
  expect(security.secureContext()).toBeDefined();
  states['own'] = { status: 'failed', reason: 'deleted by cp:1' };
  contexts.refresh();
  expect(security.secureContext()).toBeUndefined();
  expect(security.problem).toBe('secret "own": deleted by cp:1');
  states['own'] = present(certificate());
  contexts.refresh();
  expect(security.secureContext()).toBeDefined();
});

test.each([
  ['of the wrong kind', present(trust({ name: 'own' })), 'secret "own": is a validation context, not a certificate'],
  ['of no use', present({ kind: 'other', name: 'own', what: 'a generic secret' }), 'secret "own": is a generic secret, not a certificate'],
  [
    'a pair that does not belong together',
    present({
      ...certificate(),
      identity: { ...(certificate() as never as { identity: object }).identity, privateKey: inline(ca.issue({}).privateKeyPem) },
    } as never),
    'secret "own": certificate and private key do not belong together',
  ],
])('a secret %s: the last good one stays, and is the problem where there is none', (_title, bad, problem) => {
  const { security } = made({ own: bad, trust: present(trust()) });
  expect(security.problem).toBe(problem);
  const kept = made({ own: present(certificate()), trust: present(trust()) });
  const context = kept.security.secureContext();
  kept.states['own'] = bad;
  kept.contexts.refresh();
  expect(kept.security.secureContext()).toBe(context);
});

test('a validation secret without trust anchors: those of the default context count (T-1), and without them nothing is verified', () => {
  const bare = present(trust({ roots: undefined }));
  expect(made({ own: present(certificate()), trust: bare }).security.problem).toBe(
    'secret "trust": has no trust anchors, so nothing could be verified',
  );
  const { security } = made(
    { own: present(certificate()), trust: bare },
    { kind: 'sds', name: 'trust', fallback: inline(ca.certificatePem) },
  );
  expect(security.problem).toBe('');
});

test('SAN matchers of the secret are added to those of the configuration and change with it', () => {
  const { contexts, security, states } = made({ own: present(certificate()), trust: present(trust()) });
  const server = { subjectaltname: 'URI:spiffe://dev/b' } as never;
  expect(security.verifyPeer('', server)).toBeUndefined();
  const matcher = (value: string) => ({ type: 'uri', matcher: { kind: 'exact', value, ignoreCase: false } }) as const;
  states['trust'] = present(trust({ sanMatchers: [matcher('spiffe://dev/c')] as never }));
  contexts.refresh();
  expect(security.verifyPeer('', server)?.message).toContain('spiffe://dev/b');
  states['trust'] = present(trust({ sanMatchers: [matcher('spiffe://dev/b')] as never }));
  contexts.refresh();
  expect(security.verifyPeer('', server)).toBeUndefined();
});

test('a secret may name files; they are followed while it does', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'inmesh-sds-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const { certificateChainPem, privateKeyPem } = ca.issue({ spiffeId: 'spiffe://dev/a' });
  writeFileSync(join(directory, 'c'), certificateChainPem);
  writeFileSync(join(directory, 'k'), privateKeyPem);
  const file = (name: string) => ({ kind: 'file', path: join(directory, name), watchedDirectory: undefined }) as const;
  const identity = { kind: 'pair', certificateChain: file('c'), privateKey: file('k') } as const;
  const { security, fake } = made({ own: present({ kind: 'certificate', name: 'own', identity }), trust: present(trust()) });
  await fake.advance(10);
  expect(security.problem).toBe('');
});

test('bundles by trust domain of the default stand above trust anchors of the secret, as fields are merged one by one (Envoy T-1)', () => {
  const other = createTestCa({ trustDomain: 'other', clock });
  const domains = (pem: string) => ({ kind: 'spiffe', domains: [{ name: 'dev', bundle: inline(pem) }] }) as const;
  const fallback = domains(other.certificatePem);
  const { contexts, security, states } = made(
    { own: present(certificate()), trust: present(trust()) },
    { kind: 'sds', name: 'trust', fallback },
  );
  const roots = (): string | undefined => security.material()?.roots?.toString();
  expect(roots()).toBe(other.certificatePem);
  states['trust'] = present(trust({ roots: domains(ca.certificatePem) }));
  contexts.refresh();
  expect(roots()).toBe(ca.certificatePem);
});
