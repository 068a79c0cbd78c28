/**
 * Text of a snapshot file → xDS resources of any type, per node: `version`, `resources` and `nodes`, the form that go-control-plane's users
 * know. Resources are proto JSON with `@type`, perhaps in the wrapper `envoy.service.discovery.v3.Resource`; what is in them is not judged.
 */
import { isMap } from 'yaml';
import { parseDocument } from 'yaml';
import type { AnyMessage } from '../core/extension.ts';
import { jsonToAny, knows } from '../proto/any.ts';
import { RESOURCE_TYPE_URL } from '../proto/discovery.ts';
import { inOrder, openYaml } from './mesh-yaml/document.ts';
import type { FileProblem } from './mesh-yaml/problem.ts';
import { list, shape, text } from './mesh-yaml/spec-parts.ts';
import type { KeySpec, ShapeSpec, TypeSpec } from './mesh-yaml/type-spec.ts';

/** One resource with what its wrapper says. */
export interface SnapshotResource {
  readonly typeUrl: string;
  readonly name: string;
  readonly body: AnyMessage;
  readonly aliases: readonly string[];
  readonly ttlMs: number | undefined;
  readonly version: string | undefined;
}

export interface SnapshotSet {
  /** Of every type; undefined: not given. */
  readonly version: string | undefined;
  readonly resources: readonly SnapshotResource[];
}

export interface Snapshot extends SnapshotSet {
  /** By node id; others get what stands at the top. */
  readonly nodes: ReadonlyMap<string, SnapshotSet>;
}

export type SnapshotResult =
  | { readonly ok: true; readonly snapshot: Snapshot }
  | { readonly ok: false; readonly errors: readonly FileProblem[] };

/** A resource as proto JSON, or as bytes: `{ "@type": URL, "@bytes": BASE64 }`. */
export type ResourceJson = Readonly<Record<string, unknown>>;

const RAW: TypeSpec = { kind: 'raw' };
const SET: Readonly<Record<string, KeySpec>> = {
  version: { type: text('"1"'), doc: 'Version of all types; counted when it is left out.', example: '"1"' },
  resources: { type: list(RAW), doc: 'Resources, each with `@type`.', example: '[]' },
};
const SHAPES: Readonly<Record<string, ShapeSpec>> = {
  snapshot: {
    keys: { ...SET, nodes: { type: { kind: 'map', of: shape('node'), keys: 'node id' }, doc: 'What single nodes get instead.' } },
  },
  node: { keys: SET },
};

/** Keys that only a `mesh.yaml` has. */
const MESH_KEYS = ['services', 'inbound', 'include', 'identity', 'startTimeout'];

/** Whether a text is a snapshot and no `mesh.yaml`, whose `version` is the number 1. */
export function isSnapshot(content: string): boolean {
  const { contents } = parseDocument(content, { version: '1.2' });
  if (!isMap(contents) || MESH_KEYS.some((key) => contents.has(key))) return false;
  return contents.has('nodes') || (contents.has('resources') && (contents.get('version') as unknown) !== 1);
}

/** Never throws. */
export function parseSnapshot(content: string, origin: string): SnapshotResult {
  const opened = openYaml(content, origin, SHAPES, 'Begin with "resources:".', true);
  if (!opened.ok) return opened;
  const { reader, root } = opened;
  const raw = reader.shape('snapshot', root, '') ?? {};
  const set = (given: Readonly<Record<string, unknown>>, path: string): SnapshotSet => {
    const resources: SnapshotResource[] = [];
    const seen = new Set<string>();
    (given['resources'] as readonly (ResourceJson | undefined)[] | undefined)?.forEach((json, index) => {
      if (json === undefined) return;
      const place = `${path}resources[${index}]`;
      const read = readResource(json);
      if (typeof read === 'string') {
        reader.at(place, read, 'Fields are named as in the .proto files, values as in proto JSON.');
        return;
      }
      const id = `${read.typeUrl} ${read.name}`;
      if (seen.has(id)) reader.at(place, `"${read.name}" of this type is there already`, 'Give it another name, or take one of them away.');
      seen.add(id);
      resources.push(read);
    });
    return { version: given['version'] as string | undefined, resources };
  };
  const nodes = new Map<string, SnapshotSet>();
  const given = raw['nodes'] as ReadonlyMap<string, Readonly<Record<string, unknown>> | undefined> | undefined;
  for (const [id, node] of given ?? []) if (node !== undefined) nodes.set(id, set(node, `nodes.${id}.`));
  const snapshot = { ...set(raw, ''), nodes };
  return reader.problems.length > 0 ? { ok: false, errors: inOrder(reader.problems) } : { ok: true, snapshot };
}

/** A text says what is wrong. */
export function readResource(json: ResourceJson): SnapshotResource | string {
  if (json['@type'] !== RESOURCE_TYPE_URL) return unwrapped(json, undefined, { aliases: [], ttlMs: undefined, version: undefined });
  const { '@type': _type, name, version, aliases, ttl, resource, ...others } = json;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) return `the wrapper has no field "${unknown}" here: name, version, aliases, ttl and resource are read`;
  if (typeof resource !== 'object' || resource === null) return '"resource" is missing in the wrapper';
  const ttlMs = ttl === undefined ? undefined : milliseconds(ttl);
  if (ttl !== undefined && ttlMs === undefined) return `ttl "${String(ttl)}" is not a duration such as "5s"`;
  if (aliases !== undefined && !isTexts(aliases)) return 'aliases must be a list of names';
  return unwrapped(resource as ResourceJson, typeof name === 'string' ? name : undefined, {
    aliases: aliases ?? [],
    ttlMs,
    version: version === undefined ? undefined : String(version as string | number),
  });
}

type Envelope = Pick<SnapshotResource, 'aliases' | 'ttlMs' | 'version'>;

function unwrapped(json: ResourceJson, outer: string | undefined, envelope: Envelope): SnapshotResource | string {
  const own = json['name'] ?? json['cluster_name'] ?? json['clusterName'];
  const name = outer ?? (typeof own === 'string' ? own : undefined);
  const body = bodyOf(json);
  if (typeof body === 'string') return body;
  if (name === undefined) return 'the resource has no name; wrap it into an envoy.service.discovery.v3.Resource that has one';
  return { typeUrl: body.typeUrl, name, body, ...envelope };
}

function bodyOf(json: ResourceJson): AnyMessage | string {
  const { '@type': type, '@bytes': bytes } = json;
  if (typeof type !== 'string') return '"@type" is missing';
  if (typeof bytes === 'string') return { typeUrl: type, value: Buffer.from(bytes, 'base64') };
  if (!knows(type)) return `message type "${type}" is not known to inmesh; give its bytes as "@bytes", in base64, in a wrapper with a name`;
  try {
    return jsonToAny(json);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** google.protobuf.Duration in JSON. */
function milliseconds(value: unknown): number | undefined {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)s$/.exec(value) : null;
  return match === null ? undefined : Number(match[1]) * 1000;
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}
