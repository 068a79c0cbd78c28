/** Which kind of configuration a file is: told by what is in it, not by its name alone. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findConfiguration } from '../../../src/configuration.ts';
import { folder } from '../../support/mesh-process.ts';

const ENVOY = 'static_resources:\n  clusters:\n  - name: a\n    type: STATIC\n';
const ENVOY_CAMEL = '# by kuma-dp\nnode: { id: a }\n"staticResources" : { clusters: [{ name: a }] }\n';
const ENVOY_JSON = '{ "staticResources": { "clusters": [{ "name": "a" }] } }';
const GRPC = '{ "xds_servers": [{ "server_uri": "cp:1", "channel_creds": [{ "type": "insecure" }] }] }';
const MESH = 'version: 1\n# static_resources: none\nservices:\n  static_resources: { endpoints: ["127.0.0.1:1"] }\n';
const MESH_FLOW = '{ "version": 1, "services": {} }';

test.each([
  ['mesh.yaml', MESH, 'mesh-yaml'],
  ['mesh.yml', MESH_FLOW, 'mesh-yaml'],
  ['envoy.yaml', ENVOY, 'envoy'],
  ['kuma.yaml', ENVOY_CAMEL, 'envoy'],
  ['bootstrap', ENVOY_JSON, 'envoy'],
  ['bootstrap.json', ENVOY_JSON, 'envoy'],
  ['bootstrap.json', GRPC, 'grpc'],
  ['bootstrap.conf', `\n${GRPC}`, 'grpc'],
])('%s: %j is %s', (name, text, kind) => {
  const path = join(folder({ [name]: text }), name);
  const found = [findConfiguration({ config: path }, {}), findConfiguration({}, { INMESH_CONFIG: path })];
  expect(found.map((one) => (one.kind === 'bootstrap' ? one.bootstrap.format : one.kind))).toEqual([kind, kind]);
});

test("Envoy's also by the variables that gRPC knows, and as an object", () => {
  const path = join(folder({ b: ENVOY }), 'b');
  const found = [
    findConfiguration({}, { GRPC_XDS_BOOTSTRAP: path }),
    findConfiguration({}, { GRPC_XDS_BOOTSTRAP_CONFIG: ENVOY_JSON }),
    findConfiguration({ bootstrap: JSON.parse(ENVOY_JSON) as object }, {}),
  ];
  expect(found.map((one) => one.kind === 'bootstrap' && [one.bootstrap.format, one.bootstrap.origin])).toEqual([
    ['envoy', path],
    ['envoy', 'GRPC_XDS_BOOTSTRAP_CONFIG'],
    ['envoy', 'the option "bootstrap"'],
  ]);
});
