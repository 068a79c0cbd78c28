/**
 * The SDS side of a SPIRE agent as its sources describe it (control planes, §6): StreamSecrets on a unix socket and nothing else, certificates by
 * `default` or SPIFFE ID, bundles by `ROOTCA`, `ALL` or trust domain as a validator of their own. A name that nobody may have fails the whole request.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { Server, status } from '@grpc/grpc-js';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { onTestFinished } from 'vitest';
import type { TestCa } from '../../src/control-plane/ca/ca.ts';
import { jsonToAny } from '../../src/proto/any.ts';
import { DiscoveryRequestSchema, DiscoveryResponseSchema } from '../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';
import type { DiscoveryRequest } from '../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';
import { byteStream, portOf } from './byte-server.ts';

const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const PATH = '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets';

export interface SpireAgent {
  /** What streams asked for, in order: names, joined. */
  readonly asked: string[];
  readonly nacks: string[];
  /** New certificates, pushed to all streams. */
  rotate(): void;
}

interface Open {
  readonly call: ServerDuplexStream<Buffer, Buffer>;
  names: readonly string[];
}

/** `federated`: CAs of other trust domains. Closed with its test. */
export async function startSpireAgent(path: string, ca: TestCa, spiffeId: string, federated: readonly TestCa[] = []): Promise<SpireAgent> {
  const streams = new Set<Open>();
  const asked: string[] = [];
  const nacks: string[] = [];
  let version = 1;
  let svid = ca.issue({ spiffeId });
  const validator = (...domains: readonly TestCa[]): object => ({
    custom_validator_config: {
      name: 'envoy.tls.cert_validator.spiffe',
      typed_config: {
        '@type': `${TLS}.SPIFFECertValidatorConfig`,
        trust_domains: domains.map(({ trustDomain, certificatePem }) => ({ name: trustDomain, trust_bundle: bytesOf(certificatePem) })),
      },
    },
  });
  const content = (name: string): object | undefined => {
    if (name === 'default' || name === spiffeId)
      return { tls_certificate: { certificate_chain: bytesOf(svid.certificateChainPem), private_key: bytesOf(svid.privateKeyPem) } };
    if (name === 'ALL') return { validation_context: validator(ca, ...federated) };
    if (name === 'ROOTCA') return { validation_context: validator(ca) };
    const domain = [ca, ...federated].find(({ trustDomain }) => name === `spiffe://${trustDomain}`);
    return domain && { validation_context: validator(domain) };
  };
  const send = ({ call, names }: Open): void => {
    const resources = names.map((name) => ({ '@type': `${TLS}.Secret`, name, ...content(name) }));
    const response = create(DiscoveryResponseSchema, {
      versionInfo: String(version),
      typeUrl: `${TLS}.Secret`,
      nonce: String(version),
      resources: resources.map((resource) => ({ $typeName: 'google.protobuf.Any' as const, ...jsonToAny(resource) })),
    });
    call.write(Buffer.from(toBinary(DiscoveryResponseSchema, response)));
  };
  const server = new Server();
  server.addService(
    {
      StreamSecrets: byteStream(PATH),
    },
    {
      StreamSecrets(call: ServerDuplexStream<Buffer, Buffer>) {
        const open: Open = { call, names: [] };
        streams.add(open);
        call.on('error', () => undefined);
        call.on('close', () => streams.delete(open));
        call.on('end', () => call.end());
        call.on('data', (bytes: Buffer) => {
          const request: DiscoveryRequest = fromBinary(DiscoveryRequestSchema, bytes);
          if (request.errorDetail !== undefined) nacks.push(request.errorDetail.message);
          const same = request.resourceNames.join() === open.names.join();
          if (request.responseNonce !== '' && same) return;
          asked.push(request.resourceNames.join());
          const unknown = request.resourceNames.find((name) => content(name) === undefined);
          if (unknown !== undefined) {
            call.emit('error', {
              code: status.INVALID_ARGUMENT,
              details: `workload is not authorized for the requested identities ["${unknown}"]`,
            });
            return;
          }
          open.names = request.resourceNames;
          send(open);
        });
      },
    },
  );
  await portOf(server, `unix:${path}`);
  onTestFinished(() => server.forceShutdown());
  return {
    asked,
    nacks,
    rotate() {
      svid = ca.issue({ spiffeId });
      version++;
      for (const open of streams) if (open.names.length > 0) send(open);
    },
  };
}

function bytesOf(text: string): object {
  return { inline_bytes: Buffer.from(text).toString('base64') };
}
