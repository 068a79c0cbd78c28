/** The control plane of the demo in a process of its own, so that it can be killed. */
import { ControlPlane } from '../../control-plane/control-plane.ts';
import type { Nack } from '../../control-plane/stream.ts';
import { MeshError } from '../../core/errors.ts';
import type { ControlPlaneOrders } from './messages.ts';
import type { Tell } from './process-main.ts';

export function controlPlaneRole(tell: Tell): ControlPlaneOrders {
  let starting: Promise<ControlPlane> | undefined;
  let plane: ControlPlane | undefined;
  const running = (): ControlPlane => {
    if (plane === undefined) throw new MeshError('ERR_MESH_OPTION', 'the control plane was not told to listen');
    return plane;
  };
  return {
    async listen(text) {
      const onNack = ({ nodeId, typeUrl, message }: Nack): void => tell({ kind: 'log', text: `${nodeId} refused ${typeUrl}: ${message}` });
      plane = await (starting = ControlPlane.start({ text, onNack }));
      return { address: plane.address };
    },
    bootstrap: ({ nodeId, identity }) => Promise.resolve(running().bootstrap(nodeId, identity)),
    update(text) {
      const update = running().update(text);
      if (update.ok) return Promise.resolve({ changed: update.changed.length });
      const problems = update.errors.map(({ line, column, message }) => `${line}:${column} ${message}`);
      return Promise.reject(new MeshError('ERR_MESH_CONFIG', `the demo's mesh.yaml is invalid: ${problems.join('; ')}`));
    },
    async close() {
      await (await starting)?.close();
      return null;
    },
  };
}
