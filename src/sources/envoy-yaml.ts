/** YAML that stands for protobuf messages, as Envoy reads it: bootstraps and the files that they name. Only the syntax is looked at here. */
import { parseDocument } from 'yaml';
import { MeshError } from '../core/errors.ts';

/** JSON is YAML too. Throws `ERR_MESH_BOOTSTRAP` with line and column; `what` begins the message. */
export function parseEnvoyYaml(text: string, path: string, what = 'xDS bootstrap'): unknown {
  const document = parseDocument(text, { prettyErrors: true, version: '1.2', merge: true });
  const [error] = document.errors;
  if (error !== undefined) {
    const place = error.linePos?.[0];
    // Only the first line of the message: what follows quotes the text.
    const [reason = ''] = error.message.split(/ at line | *\n/);
    const where = place === undefined ? path : `${path}:${place.line}:${place.col}`;
    throw new MeshError('ERR_MESH_BOOTSTRAP', `${what} ${where}: not YAML: ${reason}`, { cure: 'Mend the syntax there' });
  }
  return document.toJS({ maxAliasCount: 1000 }) as unknown;
}
