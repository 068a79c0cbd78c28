/** What `ControlPlane.start` takes. */
import type { Clock } from '../core/clock.ts';
import type { AdmissionOptions } from './admission.ts';
import type { IstioOptions } from './istio/dialect.ts';
import type { LoadReport, LoadReportingOptions } from './load-reports.ts';
import type { AdsRequest, DeltaRequest } from './messages.ts';
import type { Step } from './misbehave/script.ts';
import type { Nack } from './stream.ts';
import type { Update, ViewOptions } from './view.ts';

/** Exactly one of `file`, `text` and `resources` says what is served. */
export interface ControlPlaneOptions extends ViewOptions, AdmissionOptions {
  /**
   * Other content for some nodes: by node id, in which `*` stands for any text, or by `cluster:NAME` (`node.cluster`, `*` as well). The first
   * that fits counts; who fits none is served the content above.
   */
  readonly views?: Readonly<Record<string, ViewOptions>>;
  /**
   * Under which names and in which shapes a `mesh.yaml` is served: inmesh's own (default), or istiod's, for the node's `GENERATOR` (`grpc`, else a
   * sidecar).
   */
  readonly dialect?: 'inmesh' | 'istio';
  readonly istio?: IstioOptions;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** Default 0: any. */
  readonly port?: number;
  /** Default true; only for files. */
  readonly watch?: boolean;
  /**
   * Where clients find their certificates: as files named by their bootstrap (default), in the resources themselves, for clients that know no
   * certificate providers, or as secrets over SDS. With the last two, the node id says whose they are (see `bootstrap`).
   */
  readonly certificates?: 'provider' | 'inline' | 'sds';
  /** Default true: what has a time to live is refreshed after half of it. */
  readonly heartbeats?: boolean;
  /**
   * What goes wrong, in order to see what clients do (`docs/reference/serve.md`). An empty list does nothing; with it `misbehave()` can still
   * be used.
   */
  readonly misbehave?: readonly Step[];
  /** What clients are asked to report; default: all clusters every 10 s. */
  readonly loadReporting?: LoadReportingOptions;
  readonly clock?: Clock;
  /** After each save, also one that is invalid. */
  readonly onUpdate?: (update: Update) => void;
  readonly onNack?: (nack: Nack) => void;
  readonly onRequest?: (request: AdsRequest | DeltaRequest, nodeId: string) => void;
  readonly onLoadReport?: (report: LoadReport) => void;
  /** A file cannot be read. */
  readonly onProblem?: (error: Error, file: string) => void;
}
