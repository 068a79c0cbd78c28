/**
 * Errors of use: thrown only by misuse of the API and by start-up with bad configuration.
 * Failures of a call are values (`failure.ts`), errors of xDS resources are `ResourceError` values (`config/resource.ts`).
 */
import type { Failure } from './failure.ts';

export type MeshErrorCode =
  | 'ERR_MESH_CLOSED'
  | 'ERR_MESH_BOOTSTRAP'
  | 'ERR_MESH_CONFIG'
  | 'ERR_MESH_OPTION'
  | 'ERR_MESH_START_TIMEOUT'
  | 'ERR_MESH_FAILURE'
  | 'ERR_MESH_UNSUPPORTED';

export interface MeshErrorDetails {
  /** What to do about it, in one sentence. */
  readonly cure?: string;
  readonly cause?: unknown;
  /** The failed call's failure, where the application asked for a throw (`onFailure: 'throw'`). */
  readonly failure?: Failure;
}

export class MeshError extends Error {
  override readonly name = 'MeshError';
  readonly code: MeshErrorCode;
  /** Absent unless given, so that a printed error shows only what is known. */
  declare readonly cure?: string;
  declare readonly failure?: Failure;

  constructor(code: MeshErrorCode, message: string, details: MeshErrorDetails = {}) {
    super(
      details.cure === undefined ? message : `${message}. ${details.cure}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    if (details.cure !== undefined) this.cure = details.cure;
    if (details.failure !== undefined) this.failure = details.failure;
  }
}
