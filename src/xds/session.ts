/**
 * What one stream's protocol state looks like from outside, whatever its dialect (`sotw.ts`, `delta.ts`). No IO and no timers: decoded
 * responses in, requests and updates out. Whoever drives it sends the requests and applies the updates (`stream-run.ts`).
 */
import type { ResourceError, ResourceKind, UnsupportedField } from '../config/resource.ts';
import type {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
  DiscoveryRequest,
  DiscoveryResponse,
  NodeMessage,
  StatusMessage,
} from '../proto/discovery.ts';
import type { DecodeContext, ResourceType } from './resource-type.ts';

/** What a resource's envelope says beside its body. */
export interface Envelope {
  /** The resource's own version; undefined: that of the response. */
  readonly version: string | undefined;
  /** Milliseconds until it is as good as removed; undefined: no end (Envoy X-70). */
  readonly ttlMs: number | undefined;
}

/** What became of one resource of a response. Names are canonical. */
export type Outcome =
  /** The bytes are those of the cached value: nothing was decoded. */
  | ({ readonly status: 'unchanged'; readonly name: string } & Envelope)
  | ({
      readonly status: 'accepted';
      readonly name: string;
      readonly raw: Uint8Array;
      readonly value: unknown;
      readonly unsupported: readonly UnsupportedField[];
    } & Envelope)
  | ({ readonly status: 'rejected'; readonly name: string; readonly raw: Uint8Array; readonly errors: readonly ResourceError[] } & Pick<
      Envelope,
      'version'
    >)
  /** The resource is there and has not changed; only its time to live begins anew (Envoy X-71). */
  | { readonly status: 'heartbeat'; readonly name: string; readonly ttlMs: number | undefined }
  /** The server says that there is none (incremental dialect). */
  | { readonly status: 'removed'; readonly name: string }
  /** The server says why it cannot be had (xRFC TP3). */
  | { readonly status: 'failed'; readonly name: string; readonly error: StatusMessage };

/** The content of one response, to be applied to the cache as a whole. */
export interface Update {
  readonly kind: ResourceKind;
  readonly version: string;
  readonly outcomes: readonly Outcome[];
  /** All names that were in it, also those without an outcome. */
  readonly present: ReadonlySet<string>;
  /** Cached names that are not in it were deleted (LDS and CDS: Envoy X-16). */
  readonly complete: boolean;
  /** All resources are taken, whether asked for by name or not. */
  readonly wildcard: boolean;
  /** A wildcard subscription was answered: names that it did not bring do not exist. */
  readonly listed: boolean;
  /** The first answer to a wildcard on its stream: what the server was not told of, and is not in it, does not exist there. */
  readonly first?: boolean;
}

export interface Receipt {
  readonly update: Update;
  /** Text of the NACK that is owed; undefined: an ACK. */
  readonly nack: string | undefined;
  /** How often in a row the same rejected response came before without anything new in it; 0 for the first. */
  readonly repeats: number;
}

/** What the session may know of the cache: bytes to compare with. */
export interface KnownResource {
  /** Whether these are the bytes of the value. */
  holds(raw: Uint8Array): boolean;
  readonly version: string;
  /** The last good value, for decoders that keep its unchanged parts. */
  readonly value: unknown;
  readonly rejected: { readonly raw: Uint8Array; readonly errors: readonly ResourceError[] } | undefined;
}

export interface SessionOptions {
  readonly types: readonly ResourceType[];
  /** Types that are subscribed whole, without names: LDS and CDS in the sidecar view. */
  readonly wildcard: ReadonlySet<ResourceKind>;
  readonly node: NodeMessage;
  readonly context: Omit<DecodeContext, 'unsupported'>;
  /** Last accepted version by type URL, of state-of-the-world streams. Outlives the session: versions are kept across streams (Envoy X-15). */
  readonly versions: Map<string, string>;
  known(kind: ResourceKind, name: string): KnownResource | undefined;
  /** Versions of the cached resources that this server sent, for the first incremental request of a type (Envoy X-32). */
  initialVersions(kind: ResourceKind): Iterable<readonly [name: string, version: string]>;
}

export const NO_REQUESTS: readonly never[] = Object.freeze([]);
export type XdsRequest = DiscoveryRequest | DeltaDiscoveryRequest;
export type XdsResponse = DiscoveryResponse | DeltaDiscoveryResponse;

export interface Session {
  /** Declares the full set of names of a type. The requests that have to be sent now. */
  subscribe(kind: ResourceKind, names: ReadonlySet<string>): readonly XdsRequest[];
  /**
   * Takes a response in; yields between resources so that the work can be spread. Undefined when the type is unknown or was never
   * asked for: then nothing is answered.
   */
  receive(response: XdsResponse): Generator<undefined, Receipt | undefined>;
  /**
   * What of the response being received can be applied already: assignments stand alone, so a large EDS response need not wait for its
   * last resource (and no single task has to apply it all). Each outcome is given once, here or in the receipt.
   */
  partial(): Update | undefined;
  /** The ACK or NACK that is owed for the type, with the names of now; nothing when none is. */
  reply(typeUrl: string): readonly XdsRequest[];
}
