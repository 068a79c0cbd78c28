/** Text of a `mesh.yaml` → checked `MeshFile`, or every problem with its position. Syntax by `yaml`, keys by `reader.ts`, sense by `checks.ts`. */
import { Checks } from './checks.ts';
import { inOrder, openYaml } from './document.ts';
import type { FileProblem } from './problem.ts';
import { SHAPES } from './shapes.ts';
import type { MeshFile } from './types.ts';

export type ParsedMeshYaml =
  | { readonly ok: true; readonly file: MeshFile }
  | { readonly ok: false; readonly errors: readonly FileProblem[] };

/** `origin` names the file in messages. Never throws. Problems come in the order in which they stand in the file. */
export function parseMeshYaml(text: string, origin: string): ParsedMeshYaml {
  const opened = openYaml(text, origin, SHAPES, 'Begin with "version: 1" and "services:".');
  if (!opened.ok) return opened;
  const { reader, root } = opened;
  const raw = reader.shape('file', root, '');
  const file = raw === undefined || reader.problems.length > 0 ? undefined : new Checks(reader, raw, origin).file();
  if (file === undefined || reader.problems.length > 0) return { ok: false, errors: inOrder(reader.problems) };
  return { ok: true, file };
}
