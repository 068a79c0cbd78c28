/** The control plane as istiod: nodes are checked as it does, and each gets the catalogue of its generator, anew with every push. */
import type { Clock } from '../../core/clock.ts';
import type { MeshFile } from '../../sources/mesh-yaml/types.ts';
import type { Catalogue, Receiver, Served } from '../catalogue.ts';
import type { Loaded } from '../content.ts';
import type { RequestNode } from '../messages.ts';
import { IstioCatalogue } from './catalogue.ts';
import type { IstioNode } from './node.ts';
import { istioNode } from './node.ts';
import type { OutboundPolicy } from './routes.ts';

export interface IstioOptions {
  /** What becomes of hosts that no service has; default `ALLOW_ANY`, as in Istio. */
  readonly outboundTrafficPolicy?: OutboundPolicy;
  /** As Istio's agent: of one node only the newest aggregated stream lives. Default false. */
  readonly agent?: boolean;
}

interface Catalogues {
  readonly current: () => Catalogue;
  /** Before the last change; undefined: there was none. */
  readonly previous: () => Catalogue | undefined;
}

interface Shelves {
  readonly served: Map<string, Served>;
  file: MeshFile | undefined;
  current: Catalogue | undefined;
  previous: Catalogue | undefined;
}

export class IstioDialect {
  readonly #clock: Clock;
  readonly #policy: OutboundPolicy;
  readonly #nodes = new Map<string, Shelves>();
  #pushes = 0;

  constructor(options: IstioOptions, clock: Clock) {
    this.#policy = options.outboundTrafficPolicy ?? 'ALLOW_ANY';
    this.#clock = clock;
  }

  /** Throws `TypeError` for a node that istiod would turn away. */
  check(node: RequestNode | undefined): void {
    istioNode(node);
  }

  /** Whose certificate the node gets: that of its service account. */
  identityOf(node: RequestNode, trustDomain: string): string | undefined {
    const { namespace, serviceAccount } = istioNode(node);
    return serviceAccount === undefined ? undefined : `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
  }

  /** What a node is served of what a view holds, where that is a `mesh.yaml`; `plain`: its secrets and raw resources, and all else. */
  serve(request: RequestNode | undefined, view: { readonly loaded: Loaded }, plain: Catalogues): Catalogues {
    if (request === undefined) return { current: () => NOTHING_YET, previous: () => undefined };
    const node = istioNode(request);
    const key = JSON.stringify(node);
    const shelves = this.#nodes.get(key) ?? { served: new Map<string, Served>(), file: undefined, current: undefined, previous: undefined };
    this.#nodes.set(key, shelves);
    const refresh = (): Shelves | undefined => {
      const file = view.loaded.mesh?.file;
      if (file === undefined) return undefined;
      if (shelves.current === undefined || shelves.file !== file) {
        shelves.previous = shelves.current;
        shelves.current = this.#make(file, node, plain.current(), shelves.served);
        shelves.file = file;
      }
      return shelves;
    };
    return {
      current: () => refresh()?.current ?? plain.current(),
      previous: () => {
        const known = refresh();
        return known === undefined ? plain.previous() : known.previous;
      },
    };
  }

  #make(file: MeshFile, node: IstioNode, plain: Catalogue, shelf: Map<string, Served>): Catalogue {
    // Wall time and a number, as istiod's versions are.
    const push = `${Math.floor(this.#clock.wallTime() / 1000)}/${++this.#pushes}`;
    return new IstioCatalogue(file, node, { plain, policy: this.#policy, push, shelf });
  }
}

/** Before a node has said who it is. */
export const NOTHING_YET: Catalogue = {
  versioned: false,
  version: () => '',
  names: () => [],
  get: (_typeUrl: string, _name: string, _receiver: Receiver) => undefined,
};
