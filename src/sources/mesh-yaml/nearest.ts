/** "Did you mean" for the keys of a `mesh.yaml`; see `core/nearest.ts`. */
export { editDistance, nearest, suggest } from '../../core/nearest.ts';
