/**
 * Secrets of the test CA (envoy.extensions.transport_sockets.tls.v3.Secret; Envoy X-93): `default` is the certificate of the node's own
 * identity, `ROOTCA` the trust anchors, as istiod's agent names them; a SPIFFE id is that identity's certificate, and the trust domain's id
 * the anchors, as SPIRE names them.
 */
import { TYPE_URLS } from '../config/resource.ts';
import type { AnyMessage } from '../core/extension.ts';
import { jsonToAny } from '../proto/any.ts';
import type { Certificates } from './certificates.ts';
import type { Receiver } from './catalogue.ts';
import type { JsonObject } from './encode/json.ts';
import type { TlsMaterial } from './encode/tls.ts';
import { OWN_SECRET, ROOTS_SECRET, encodePair } from './encode/tls.ts';

export class Secrets {
  readonly #certificates: Certificates;
  /** By what is in them, then by name: a rotated certificate is another object. */
  readonly #encoded = new WeakMap<object, Map<string, AnyMessage>>();
  readonly #roots = {};

  constructor(certificates: Certificates) {
    this.#certificates = certificates;
  }

  /** Who asks as `identity`; undefined: nobody that is known. */
  receiver(material: TlsMaterial, identity: string | undefined): Receiver {
    return { material, secret: (name) => this.#secret(name, identity) };
  }

  #secret(name: string, identity: string | undefined): AnyMessage | undefined {
    const trustDomain = `spiffe://${this.#certificates.trustDomain}`;
    if (name === ROOTS_SECRET || name === trustDomain) {
      return this.#encode(this.#roots, name, () => ({
        validation_context: { trusted_ca: { inline_string: this.#certificates.rootsPem } },
      }));
    }
    const owner = name === OWN_SECRET ? identity : name.startsWith(`${trustDomain}/`) ? name : undefined;
    if (owner === undefined) return undefined;
    const certificates = this.#certificates.inline(owner);
    return this.#encode(certificates, name, () => ({ tls_certificate: encodePair(certificates) }));
  }

  #encode(content: object, name: string, fields: () => JsonObject): AnyMessage {
    const byName = this.#encoded.get(content) ?? new Map<string, AnyMessage>();
    this.#encoded.set(content, byName);
    let packed = byName.get(name);
    if (packed === undefined) {
      packed = jsonToAny({ '@type': TYPE_URLS.secret, name, ...fields() });
      byName.set(name, packed);
    }
    return packed;
  }
}
