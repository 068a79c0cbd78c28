/** Secret: what SDS brings (Envoy X-93). Material is read by the rules of transport sockets; kinds that nothing here uses are accepted as such. */
import { ConfigProblem } from '../../config/resource.ts';
import type { SecretConfig } from '../../config/secret.ts';
import type { Secret } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import type { Scope } from './scope.ts';
import { certificate, roots, sanMatchers } from './tls-material.ts';

/** The message has been surveyed. */
export function secret(message: Secret, scope: Scope): SecretConfig {
  const { name, type } = message;
  switch (type.case) {
    case 'tlsCertificate': {
      const identity = certificate([type.value], 'tls_certificate');
      if (identity === undefined) throw new ConfigProblem('tls_certificate', 'is empty');
      return { kind: 'certificate', name, identity };
    }
    case 'validationContext': {
      const anchors = roots(type.value, 'validation_context', scope);
      // The bootstrap's own trust in the system's anchors is asked for where they are used (gRFC A82), not by a secret.
      if (anchors?.kind === 'system') throw new ConfigProblem('validation_context.system_root_certs', 'is not supported in a secret');
      return { kind: 'validation', name, roots: anchors, sanMatchers: sanMatchers(type.value, 'validation_context') };
    }
    case 'sessionTicketKeys':
    case 'genericSecret':
      return { kind: 'other', name, what: type.case === 'genericSecret' ? 'a generic secret' : 'session ticket keys' };
    default:
      throw new ConfigProblem('', 'is empty: neither tls_certificate nor validation_context is set');
  }
}
