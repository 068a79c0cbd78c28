/** What RBAC tests share: configs from Envoy's JSON through real protobuf bytes. */
import type { AnyMessage, Deps, ParseContext } from '../../../src/core/extension.ts';
import { ConfigProblem } from '../../../src/config/resource.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { jsonToAny, ProtoProblem, unpack } from '../../../src/proto/any.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { SeededRandom } from '../../../src/testing/seeded-random.ts';

export const deps: Deps = { clock: new FakeClock(), random: new SeededRandom(), log: silentLogger };

export interface RecordingContext extends ParseContext {
  readonly fields: string[];
}

export function parseContext(): RecordingContext {
  const fields: string[] = [];
  return {
    fields,
    path: '',
    configSource: () => undefined,
    unsupported: (field) => void fields.push(field),
    unpack: <T>(any: AnyMessage): T => {
      try {
        return unpack<T>(any);
      } catch (error) {
        throw error instanceof ProtoProblem ? new ConfigProblem('typed_config', error.message) : error;
      }
    },
  };
}

export function filterConfig(json: object): AnyMessage {
  return jsonToAny({ '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC', ...json });
}

export function overrideConfig(json: object): AnyMessage {
  return jsonToAny({ '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute', ...json });
}
