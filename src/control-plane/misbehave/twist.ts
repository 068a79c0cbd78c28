/** One response, changed as a step says: the same for both dialects. What a response turns into only; when is `conduct.ts`. */
import type { AnyMessage } from '../../core/extension.ts';
import { GrpcStatus } from '../../core/status.ts';
import type { ResourceErrorMessage, WrappedResource } from '../../proto/discovery.ts';
import type { Served } from '../catalogue.ts';
import type { AdsResponse, DeltaResponse } from '../messages.ts';
import { encodeDeltaResponse, encodeResponse } from '../messages.ts';
import { wrapped } from '../stream.ts';
import type { Deed, Step } from './script.ts';

/** A response of either dialect. */
export type AnyResponse = AdsResponse | DeltaResponse;

export interface Draft {
  readonly response: AnyResponse;
  /** Milliseconds that it waits before it goes out. */
  readonly delayMs: number;
  /** Bytes of an unknown field that come on top. */
  readonly padding: number;
}

/** What a twist may want to know. */
export interface TwistContext {
  /** Nonce of the response before this one of the type; undefined: it is the first. */
  readonly lastNonce: string | undefined;
  /** A nonce that no other response has. */
  freshNonce(): string;
  /** Resources of the type that are not in the response. */
  others(typeUrl: string, names: ReadonlySet<string>): readonly Served[];
}

const NO_SUCH_TYPE = 'type.googleapis.com/envoy.config.nothing.v3.Nothing';
/** A tag with a wire type that does not exist: what stands before it, such as the name, can still be read. */
const JUNK = Uint8Array.of(0x0f);
const OTHER_TYPE = 'type.googleapis.com/google.protobuf.Struct';
/** Field 1000, length-delimited. */
const PADDING_TAG = Buffer.from([0xc2, 0x3e]);

export function isDelta(response: AnyResponse): response is DeltaResponse {
  return 'removedResources' in response;
}

export function namesOf(response: AnyResponse): readonly string[] {
  return isDelta(response) ? response.resources.map(({ name }) => name) : response.names;
}

export function encodeDraft({ response, padding }: Draft): Buffer {
  const bytes = isDelta(response) ? encodeDeltaResponse(response) : encodeResponse(response);
  const own = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return padding === 0 ? own : Buffer.concat([own, PADDING_TAG, varint(padding), Buffer.alloc(padding)]);
}

/** What goes out instead of `draft`, in order. */
export function twist(draft: Draft, step: Step, context: TwistContext): readonly Draft[] {
  const { response } = draft;
  switch (step.do as Exclude<Deed, 'silence' | 'empty' | 'older-version' | 'repeat-on-nack' | 'reset' | 'hang' | 'disconnect'>) {
    case 'stale-nonce':
      return [{ ...draft, response: { ...response, nonce: context.lastNonce ?? '0' } }];
    case 'duplicate':
      return [{ ...draft, response: duplicate(response) }];
    case 'junk':
      return [
        {
          ...draft,
          response: eachBody(response, (body, index) => (index % 2 === 0 ? { ...body, value: Buffer.concat([body.value, JUNK]) } : body)),
        },
      ];
    case 'wrong-type':
      return [{ ...draft, response: eachBody(response, (body, index) => (index === 0 ? { ...body, typeUrl: OTHER_TYPE } : body)) }];
    case 'unknown-type': {
      const unknown = eachBody(response, (body) => ({ ...body, typeUrl: NO_SUCH_TYPE }));
      return [{ ...draft, response: { ...unknown, typeUrl: NO_SUCH_TYPE, nonce: context.freshNonce() } }, draft];
    }
    case 'unasked':
      return [{ ...draft, response: extend(response, context.others(response.typeUrl, new Set(namesOf(response)))) }];
    case 'errors':
      return [{ ...draft, response: failed(response, step) }];
    case 'repeat': {
      const copies = Array.from({ length: step.copies ?? 1 }, () => ({ ...draft, response: { ...response, nonce: context.freshNonce() } }));
      return [draft, ...copies];
    }
    case 'slow':
      return [{ ...draft, delayMs: draft.delayMs + (step.byMs ?? 1000) }];
    case 'huge':
      return [{ ...draft, padding: draft.padding + (step.bytes ?? 8 * 1024 * 1024) }];
  }
}

function duplicate(response: AnyResponse): AnyResponse {
  if (isDelta(response)) return { ...response, resources: [...response.resources, ...response.resources.slice(0, 1)] };
  return { ...response, resources: [...response.resources, ...response.resources.slice(0, 1)] };
}

function eachBody(response: AnyResponse, change: (body: AnyMessage, index: number) => AnyMessage): AnyResponse {
  if (!isDelta(response)) return { ...response, resources: response.resources.map(change) };
  const resources = response.resources.map((entry, index): WrappedResource =>
    entry.resource === undefined ? entry : { ...entry, resource: change(entry.resource, index) },
  );
  return { ...response, resources };
}

function extend(response: AnyResponse, others: readonly Served[]): AnyResponse {
  if (isDelta(response)) return { ...response, resources: [...response.resources, ...others.map((served) => wrapped(served))] };
  return { ...response, resources: [...response.resources, ...others.map(({ body }) => body)] };
}

function failed(response: AnyResponse, { code = 'PERMISSION_DENIED', message = 'refused by a misbehave script' }: Step): AnyResponse {
  const resourceErrors = namesOf(response).map((name): ResourceErrorMessage => ({
    resourceName: { name },
    errorDetail: { code: GrpcStatus[code], message },
  }));
  return { ...response, resources: [], resourceErrors };
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
