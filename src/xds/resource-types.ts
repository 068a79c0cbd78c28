/** REGISTRY of xDS resource types: a new type is one decoder and one line here. Loads the protobuf runtime. */
import { TYPE_URLS } from '../config/resource.ts';
import {
  decodeCluster,
  decodeEndpointsInSteps,
  decodeEndpointsResource,
  decodeExtensionConfig,
  decodeListener,
  decodeRoutes,
  decodeRoutesInSteps,
  decodeScopedRoutes,
  decodeSecret,
  decodeRuntime,
  decodeVirtualHost,
} from './decode/resource.ts';
import type { ResourceType } from './resource-type.ts';

const LISTENER: ResourceType<'listener'> = { kind: 'listener', typeUrl: TYPE_URLS.listener, fullState: true, decode: decodeListener };
const ROUTES: ResourceType<'routes'> = {
  kind: 'routes',
  typeUrl: TYPE_URLS.routes,
  fullState: false,
  decode: decodeRoutes,
  decodeInSteps: decodeRoutesInSteps,
};
const CLUSTER: ResourceType<'cluster'> = { kind: 'cluster', typeUrl: TYPE_URLS.cluster, fullState: true, decode: decodeCluster };
const ENDPOINTS: ResourceType<'endpoints'> = {
  kind: 'endpoints',
  typeUrl: TYPE_URLS.endpoints,
  fullState: false,
  decode: decodeEndpointsResource,
  decodeInSteps: decodeEndpointsInSteps,
};

const SCOPED_ROUTES: ResourceType<'scoped-routes'> = {
  kind: 'scoped-routes',
  typeUrl: TYPE_URLS['scoped-routes'],
  fullState: true,
  decode: decodeScopedRoutes,
};

const RUNTIME: ResourceType<'runtime'> = { kind: 'runtime', typeUrl: TYPE_URLS.runtime, fullState: false, decode: decodeRuntime };
const SECRET: ResourceType<'secret'> = { kind: 'secret', typeUrl: TYPE_URLS.secret, fullState: false, decode: decodeSecret };

const EXTENSION_CONFIG: ResourceType<'extension-config'> = {
  kind: 'extension-config',
  typeUrl: TYPE_URLS['extension-config'],
  fullState: false,
  decode: decodeExtensionConfig,
};

const VIRTUAL_HOST: ResourceType<'virtual-host'> = {
  kind: 'virtual-host',
  typeUrl: TYPE_URLS['virtual-host'],
  fullState: false,
  // `<route configuration>/<host>`, which the virtual host itself does not know (Envoy X-90).
  namedByWrapper: true,
  decode: decodeVirtualHost,
};

export const RESOURCE_TYPES: readonly ResourceType[] = [
  LISTENER,
  SCOPED_ROUTES,
  ROUTES,
  VIRTUAL_HOST,
  CLUSTER,
  ENDPOINTS,
  RUNTIME,
  SECRET,
  EXTENSION_CONFIG,
];
